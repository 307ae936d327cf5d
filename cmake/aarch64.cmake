# Toolchain: AArch64 (NEON) by Debian's cross compiler, run under qemu-user. `./dev test --arch neon` uses it.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc-12)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++-12)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
set(AULOS_ARCH "" CACHE STRING "")
# Headers alone (Eigen, xsimd) may be the host's; GoogleTest is compiled from Debian's sources.
file(GLOB xsimd_DIR /usr/lib/*/cmake/xsimd)
set(CMAKE_DISABLE_FIND_PACKAGE_GTest ON)
set(FETCHCONTENT_SOURCE_DIR_GOOGLETEST /usr/src/googletest CACHE PATH "")
