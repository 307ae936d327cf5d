# Fails on a symbol of aulos that both FIRST and SECOND define: the linker would keep one of the two.
cmake_minimum_required(VERSION 3.25)

foreach(object IN ITEMS FIRST SECOND)
  execute_process(COMMAND "${NM}" --defined-only --extern-only "${${object}}"
                  OUTPUT_VARIABLE text COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^ \n]*5aulos[^ \n]*" ${object}_SYMBOLS "${text}")
  list(LENGTH ${object}_SYMBOLS count)
  if(count LESS 3)
    message(FATAL_ERROR "${${object}} defines only ${count} symbols of aulos: nothing is tested\n${text}")
  endif()
endforeach()
foreach(symbol IN LISTS FIRST_SYMBOLS)
  if(symbol IN_LIST SECOND_SYMBOLS)
    message(FATAL_ERROR "both objects define ${symbol}")
  endif()
endforeach()
