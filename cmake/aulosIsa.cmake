# Run-time dispatch: one program, several instruction sets.
#
#   aulos_add_isa_library(model_avx2   LEVEL avx2   SOURCES model.cpp EXPORTS run_avx2)
#   aulos_add_isa_library(model_avx512 LEVEL avx512 SOURCES model.cpp EXPORTS run_avx512)
#   target_link_libraries(app PRIVATE model_avx2 model_avx512)
#
# aulos tags its own symbols with their instruction set, but the linker would still merge the inline functions of Eigen
# and of the standard library, and could keep the copy that the processor can't run. So each level becomes a single
# relocatable object in which every symbol is local, except the EXPORTS (names as the linker sees them: declare them
# extern "C"). The macro AULOS_LEVEL holds the level's name, so that one source can name its entry point by level.
include_guard(GLOBAL)

set(_aulos_isa_sse2 -march=x86-64)
set(_aulos_isa_sse41 -march=x86-64-v2)
set(_aulos_isa_avx2 -march=x86-64-v3)
set(_aulos_isa_avx512 -march=x86-64-v4)
set(_aulos_isa_avx512bf16 -march=x86-64-v4 -mavx512vnni -mavx512bf16)
set(_aulos_isa_avx512amx -march=x86-64-v4 -mavx512vnni -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)
set(_aulos_isa_neon64 -march=armv8-a)
set(_aulos_isa_sve -march=armv8-a+sve)

function(aulos_add_isa_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LEVEL" "SOURCES;EXPORTS;OPTIONS")
  if(NOT DEFINED _aulos_isa_${arg_LEVEL})
    message(FATAL_ERROR "aulos_add_isa_library(${name}): unknown LEVEL ${arg_LEVEL}")
  endif()
  if(NOT arg_SOURCES OR NOT arg_EXPORTS)
    message(FATAL_ERROR "aulos_add_isa_library(${name}): SOURCES and EXPORTS are needed")
  endif()
  find_program(AULOS_GNU_LD NAMES ld.bfd ld)
  mark_as_advanced(AULOS_GNU_LD)
  if(NOT CMAKE_OBJCOPY OR NOT AULOS_GNU_LD OR NOT CMAKE_EXECUTABLE_FORMAT STREQUAL "ELF")
    message(FATAL_ERROR "aulos_add_isa_library(${name}): needs ELF, GNU ld and objcopy")
  endif()

  add_library(${name}_objects OBJECT ${arg_SOURCES})
  target_link_libraries(${name}_objects PRIVATE aulos::aulos)
  target_compile_options(${name}_objects PRIVATE ${arg_OPTIONS} ${_aulos_isa_${arg_LEVEL}})
  target_compile_definitions(${name}_objects PRIVATE AULOS_LEVEL=${arg_LEVEL})
  set_target_properties(${name}_objects PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF POSITION_INDEPENDENT_CODE ON)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(${name}_objects PRIVATE -fno-gnu-unique)  # a unique symbol can't be made local
  endif()

  # Section groups are dissolved: the linker would otherwise drop a group that another level holds as well.
  set(object "${CMAKE_CURRENT_BINARY_DIR}/${name}${CMAKE_CXX_OUTPUT_EXTENSION}")
  list(TRANSFORM arg_EXPORTS PREPEND --keep-global-symbol= OUTPUT_VARIABLE keep)
  add_custom_command(
    OUTPUT "${object}"
    COMMAND "${AULOS_GNU_LD}" -r --force-group-allocation -o "${object}" "$<TARGET_OBJECTS:${name}_objects>"
    COMMAND "${CMAKE_OBJCOPY}" ${keep} "${object}"
    DEPENDS ${name}_objects "$<TARGET_OBJECTS:${name}_objects>"
    COMMENT "Localising the symbols of ${name} (${arg_LEVEL})"
    COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(${name}_localised DEPENDS "${object}")
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_localised)
  target_link_libraries(${name} INTERFACE "${object}" $<TARGET_NAME_IF_EXISTS:Threads::Threads>)
endfunction()
