# SPDX-License-Identifier: Apache-2.0
# Both widths of the CPU's operations in one library: files of src/ops/cpu that define them in PENSTOCK_WIDTH are compiled
# for vectors of 8 floats (AVX2) as part of penstock_ops, and for 16 (AVX-512) as an object of their own. The first call
# chooses (src/device/cpu/vector_lanes).
#
# Their includes, above all of the standard library, are also compiled for AVX-512 in that object. If several objects
# have the same inline function, the linker keeps any of them, and a CPU without AVX-512 would meet it anywhere in the
# program. So the object hides all names except those of its namespace (tests/ops/widths.py checks).

option(PENSTOCK_BOTH_WIDTHS "Compile the CPU's operations for vectors of 8 and of 16 floats, where that makes sense" ON)

include(CheckCXXSourceCompiles)

# Sets PENSTOCK_BOTH_WIDTHS_HERE, and the instruction sets of the 8 and the 16 lanes.
function(penstock_find_widths)
  set(PENSTOCK_BOTH_WIDTHS_HERE OFF PARENT_SCOPE)
  if(NOT PENSTOCK_BOTH_WIDTHS OR PENSTOCK_CUDA OR PENSTOCK_SANITIZE OR NOT CMAKE_OBJCOPY OR NOT CMAKE_LINKER)
    return()
  endif()
  foreach(macro __x86_64__ __AVX512F__)
    set(CMAKE_REQUIRED_FLAGS "-march=${PENSTOCK_ARCHITECTURE}")
    string(MAKE_C_IDENTIFIER "PENSTOCK_${macro}_IN_${PENSTOCK_ARCHITECTURE}" ${macro})
    check_cxx_source_compiles("#ifndef ${macro}\n#error\n#endif\nint main() {}" ${${macro}})
  endforeach()
  if(${__AVX512F__})
    set(PENSTOCK_8_LANES x86-64-v3 PARENT_SCOPE)
    set(PENSTOCK_16_LANES ${PENSTOCK_ARCHITECTURE} PARENT_SCOPE)
  elseif(${__x86_64__} AND NOT PENSTOCK_ARCHITECTURE STREQUAL "native")  # a native program stays on CPUs without AVX-512
    set(PENSTOCK_8_LANES ${PENSTOCK_ARCHITECTURE} PARENT_SCOPE)
    set(PENSTOCK_16_LANES x86-64-v4 PARENT_SCOPE)
  else()
    return()
  endif()
  set(PENSTOCK_BOTH_WIDTHS_HERE ON PARENT_SCOPE)
endfunction()

penstock_find_widths()

# Adds the operations of 16 lanes to penstock_ops. For src/CMakeLists.txt: properties of sources are those of a folder.
macro(penstock_add_16_lanes)
  set(kernels "")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ops/cpu/*.cpp)
  foreach(source IN LISTS sources)
    file(STRINGS ${source} widths REGEX "^PENSTOCK_(OPERATION|FUNCTION)\\(")
    if(widths)
      list(APPEND kernels ${source})
    endif()
  endforeach()
  set_source_files_properties(${kernels} PROPERTIES COMPILE_OPTIONS
    "-march=$<IF:$<STREQUAL:$<TARGET_PROPERTY:NAME>,penstock_ops>,${PENSTOCK_8_LANES},${PENSTOCK_16_LANES}>")
  set_property(SOURCE ${kernels} device/cpu/vector_lanes.cpp APPEND PROPERTY COMPILE_DEFINITIONS PENSTOCK_BOTH_WIDTHS)

  add_library(penstock_ops_16_lanes OBJECT EXCLUDE_FROM_ALL ${kernels})
  target_include_directories(penstock_ops_16_lanes PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(penstock_ops_16_lanes PRIVATE penstock_compiler penstock_tensor OpenMP::OpenMP_CXX)
  target_compile_options(penstock_ops_16_lanes PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi>)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/penstock_ops_16_lanes.o)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o ${object}.all $<TARGET_OBJECTS:penstock_ops_16_lanes>
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=_ZN8penstock3ops8lanes_16* ${object}.all ${object}
    DEPENDS $<TARGET_OBJECTS:penstock_ops_16_lanes>
    COMMENT "Operations of 16 lanes, their other names hidden"
    COMMAND_EXPAND_LISTS VERBATIM)
  set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(penstock_ops PRIVATE ${object})
  set_target_properties(penstock_ops_16_lanes PROPERTIES OBJECT ${object})
endmacro()
