# cmake -DPEERS=.. -DREPORT=.. -DPLUGINS=.. -DFOLDER=.. -P peers.cmake
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
set(plugin_count 0)
foreach(plugin IN LISTS PLUGINS)  # these alone, whatever else has been built
  file(CREATE_LINK "${plugin}" "${FOLDER}/peer_plugin_${plugin_count}.so" SYMBOLIC)
  math(EXPR plugin_count "${plugin_count} + 1")
endforeach()

# expect(STATUS TEXT ARGUMENTS...): the exit status, and what standard error must say.
function(expect status text)
  execute_process(COMMAND "${PEERS}" --plugins "${FOLDER}" ${ARGN} RESULT_VARIABLE got OUTPUT_VARIABLE out
                  ERROR_VARIABLE error)
  if(NOT got EQUAL status OR NOT error MATCHES "${text}")
    message(SEND_ERROR "peers ${ARGN}: status ${got}, expected ${status}, with \"${text}\":\n${error}")
  endif()
  set(out "${out}" PARENT_SCOPE)
endfunction()

expect(2 "unexpected argument --bogus" --bogus)
expect(2 "--json needs a value" --json)
expect(2 "--threads takes a number above 0, not \"x\"" --threads x)
expect(2 "no peer is called \"nobody\"" --require nobody)
expect(2 "no work matches \"nothing\"" nothing)
expect(2 "not a regular expression" "[")
expect(3 "no peer onednn" --require eigen,onednn gemm_5_7_9)

# Ours, and another with which it agrees.
foreach(work IN ITEMS gemm_5_7_9/f32 attention_9_13_causal/f32 softmax_5_9/f32 policy_step/f32)
  string(REGEX REPLACE "/.*" "" name "${work}")
  expect(0 "no peer onednn" --threads 1 --seconds 0.01 --json "${FOLDER}/${name}.jsonl" "${name}")
  file(STRINGS "${FOLDER}/${name}.jsonl" lines)
  list(GET lines 0 ours)
  foreach(field IN ITEMS work dtype threads peer version processor rounds median_s min_s gflops peak peak_share ratio
                         err)
    string(JSON type ERROR_VARIABLE problem TYPE "${ours}" "${field}")
    if(problem)
      message(SEND_ERROR "${name}: ${problem}: ${ours}")
    endif()
  endforeach()
  string(JSON peer GET "${ours}" peer)
  string(JSON got GET "${ours}" work)
  string(JSON err GET "${ours}" err)
  if(NOT peer STREQUAL "aulos" OR NOT got STREQUAL name OR err GREATER 1e-5)
    message(SEND_ERROR "${name}: ${ours}")
  endif()
endforeach()

# The page gets a section, and the same section again.
file(WRITE "${FOLDER}/page.md" "# Page\n")
foreach(turn IN ITEMS 1 2)
  execute_process(COMMAND "${REPORT}" --page "${FOLDER}/page.md" --images "${FOLDER}" "${FOLDER}/gemm_5_7_9.jsonl"
                          "${FOLDER}/softmax_5_9.jsonl" COMMAND_ERROR_IS_FATAL ANY)
  file(READ "${FOLDER}/page.md" page${turn})
endforeach()
if(NOT page1 STREQUAL page2 OR NOT page1 MATCHES "gemm_5_7_9 . f32 .*eigen.*softmax_5_9 . f32")
  message(SEND_ERROR "the page is\n${page2}")
endif()
file(GLOB charts "${FOLDER}/benchmarks-*.svg")
list(LENGTH charts count)
if(NOT count EQUAL 1)
  message(SEND_ERROR "charts: ${charts}")
endif()
