# How the programs of this repository (tests, examples, benchmarks) are built. Nothing here reaches a consumer's targets.
include_guard(GLOBAL)
include(aulosWarnings)
include(aulosArch)
include(aulosSanitizers)
include(aulosCcache)
include(aulosInstances)

if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()

# Gives a target the house's flags.
function(aulos_program target)
  target_link_libraries(${target} PRIVATE aulos::aulos)
  target_compile_options(${target} PRIVATE ${aulos_warning_flags} ${aulos_arch_flags} ${aulos_sanitizer_flags}
                                           ${aulos_ccache_flags})
  target_link_options(${target} PRIVATE ${aulos_sanitizer_flags})
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  if(aulos_ccache_launcher)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER "${aulos_ccache_launcher}")
  endif()
endfunction()
