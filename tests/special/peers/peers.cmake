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
expect(2 "--minutes takes a number above 0, not \"0\"" --minutes 0)
expect(2 "no peer is called \"nobody\"" --require nobody)
expect(2 "no work matches \"nothing\"" nothing)
expect(2 "not a regular expression" "[")
# Each missing peer has a line with the package that brings it, whether it is required or not.
expect(3 "no peer onednn \\(libdnnl-dev\\)\nno peer torch \\(libtorch-dev\\)\n.*no peer ggml" --require eigen,onednn,torch
       gemm_5_7_9)
expect(3 "no peer blis" --require blis gemm_5_7_9)
if(out)
  message(SEND_ERROR "lines although a peer is missing: ${out}")
endif()
expect(4 "3 measurements, 6 rounds in .* minutes \\(of 1e-09\\)" --threads 1 --minutes 1e-9 gemm_5_7_9)

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

# Of a policy's step each call counts.
file(STRINGS "${FOLDER}/policy_step.jsonl" ours LIMIT_COUNT 1)
string(JSON calls GET "${ours}" calls)
foreach(whose IN ITEMS call loop)
  string(JSON p50 GET "${ours}" ${whose}_p50_s)
  string(JSON p99 GET "${ours}" ${whose}_p99_s)
  if(calls LESS 20 OR NOT p50 GREATER 0 OR p99 LESS p50)
    message(SEND_ERROR "each call: ${ours}")
  endif()
endforeach()

# What our own programs write: Google Benchmark's JSON.
file(WRITE "${FOLDER}/programs.json" [[{
  "context": {"executable": "/somewhere/toy_bench", "processor": "Toy (1)", "copy": "20.5", "peak_f32": "100.0",
              "peak_f32_instruction": "fma"},
  "benchmarks": [
    {"name": "toy/64/real_time", "run_type": "iteration", "iterations": 3, "real_time": 2.5e+00, "cpu_time": 2.5e+00,
     "time_unit": "ms", "flops": 7.5e+10, "bytes": 1.5e+09, "spare": 4.0e+00, "label": "exact"},
    {"name": "toy/64/real_time_mean", "run_type": "aggregate", "real_time": 9.0, "time_unit": "ms"},
    {"name": "broken", "run_type": "iteration", "error_occurred": true, "real_time": 0.0, "time_unit": "ms"}
  ]
}
]])

# The page gets a section for each kind, and the same sections again.
file(WRITE "${FOLDER}/page.md" "# Page\n")
foreach(turn IN ITEMS 1 2)
  execute_process(COMMAND "${REPORT}" --page "${FOLDER}/page.md" --images "${FOLDER}" "${FOLDER}/gemm_5_7_9.jsonl"
                          "${FOLDER}/softmax_5_9.jsonl" "${FOLDER}/programs.json" "${FOLDER}/policy_step.jsonl"
                  COMMAND_ERROR_IS_FATAL ANY)
  file(READ "${FOLDER}/page.md" page${turn})
endforeach()
if(NOT page1 STREQUAL page2)
  message(SEND_ERROR "another page the second time:\n${page2}")
endif()
foreach(line IN ITEMS "gemm_5_7_9 . f32 .*eigen" "softmax_5_9 . f32" "### Each call.*policy_step . f32 . 1 . [0-9]+ ."
                      "## Toy \\(1\\), our programs.*toy/64 . exact . 2.500 . 75 . 75 % . 1.5 . spare 4 ")
  if(NOT page1 MATCHES "${line}")
    message(SEND_ERROR "no \"${line}\" on the page:\n${page1}")
  endif()
endforeach()
file(GLOB charts "${FOLDER}/benchmarks-*.svg")
list(LENGTH charts count)
if(NOT count EQUAL 2)
  message(SEND_ERROR "charts: ${charts}")
endif()
file(READ "${FOLDER}/benchmarks-toy-1-programs.svg" chart)
if(NOT chart MATCHES "<circle[^\n]*toy/64 exact: 75.*fma 100|fma 100.*<circle[^\n]*toy/64 exact: 75")
  message(SEND_ERROR "the chart is\n${chart}")
endif()
execute_process(COMMAND "${REPORT}" --page "${FOLDER}/page.md" --images "${FOLDER}" "${FOLDER}/page.md"
                RESULT_VARIABLE status ERROR_VARIABLE error)
if(status EQUAL 0 OR NOT error MATCHES "page.md:1: ")
  message(SEND_ERROR "of a file that is no measurement: ${error}")
endif()
