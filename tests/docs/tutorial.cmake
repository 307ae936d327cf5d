# docs/tutorial/dump.py writes the case that tests/golden/tutorial holds, and `verify` computes it. Says that it is
# skipped where python3 has no torch.
execute_process(COMMAND "${PYTHON}" -c "import torch" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
if(NOT status EQUAL 0)
  message("skipped: no torch")
  return()
endif()
foreach(command IN ITEMS "${PYTHON};docs/tutorial/dump.py;${FILE}" "${VERIFY};--strict;${FILE}")
  execute_process(COMMAND ${command} WORKING_DIRECTORY "${SOURCE}" RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${command}: status ${status}")
  endif()
endforeach()
