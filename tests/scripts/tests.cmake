find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)

add_test(NAME scripts.check_layers COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/scripts/check_layers)
foreach(script bench_gpu check_layers jobs messages prepare quickstart submit)
  add_test(NAME scripts.${script}_test
           COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/scripts/${script}_test.py)
endforeach()
set_tests_properties(scripts.bench_gpu_test scripts.check_layers scripts.check_layers_test scripts.jobs_test
                     scripts.prepare_test scripts.messages_test scripts.quickstart_test scripts.submit_test PROPERTIES LABELS unit TIMEOUT 60)
