find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

add_test(NAME scripts.check_layers COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/check_layers)
set_tests_properties(scripts.check_layers PROPERTIES LABELS unit TIMEOUT 300)
foreach(script bench_gpu check_faults check_layers jobs messages plots prepare quickstart submit test)
  add_test(NAME scripts.${script}_test
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/${script}_test.py)
  set_tests_properties(scripts.${script}_test PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
# The program that is shipped has no planted fault, and the one of preset `faults` refuses an unknown one.
add_test(NAME scripts.planted_faults
         COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/check_faults_test.py Program)
set_tests_properties(scripts.planted_faults PROPERTIES LABELS contract TIMEOUT 60
                     ENVIRONMENT "PENSTOCK=$<TARGET_FILE:penstock>;PENSTOCK_FAULTS=${PENSTOCK_FAULTS}")
