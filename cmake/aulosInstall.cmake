# Headers, aulosConfig.cmake and aulos.pc, all relocatable and the same on every architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/aulos")
set(pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

configure_package_config_file(cmake/aulosConfig.cmake.in "${PROJECT_BINARY_DIR}/aulosConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/aulosConfigVersion.cmake"
                                 COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
file(RELATIVE_PATH pc_prefix "/prefix/${pkgconfig_dir}" "/prefix")
configure_file(cmake/aulos.pc.in "${PROJECT_BINARY_DIR}/aulos.pc" @ONLY)

install(TARGETS aulos EXPORT aulosTargets FILE_SET HEADERS)
install(EXPORT aulosTargets NAMESPACE aulos:: DESTINATION "${package_dir}")
install(FILES "${PROJECT_BINARY_DIR}/aulosConfig.cmake" "${PROJECT_BINARY_DIR}/aulosConfigVersion.cmake"
              cmake/aulosIsa.cmake DESTINATION "${package_dir}")
install(FILES "${PROJECT_BINARY_DIR}/aulos.pc" DESTINATION "${pkgconfig_dir}")
