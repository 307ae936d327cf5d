#include "aulos/io/file.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "tests/io/faults.hpp"
#include "tests/io/files.hpp"
#include "tests/support/sanitized.hpp"

// The system calls of this program, which pass through unless a test asks for trouble.
namespace aulos_tests {

Faults& faults() {
  static Faults instance;
  return instance;
}

}  // namespace aulos_tests

namespace {

template <class Function>
Function next_symbol(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

// Every second call is interrupted when asked; nothing is transferred then.
bool is_interrupted() {
  auto& faults = aulos_tests::faults();
  if (!faults.interrupts || ++faults.calls % 2 == 0) return false;
  errno = EINTR;
  return true;
}

}  // namespace

extern "C" ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  static const auto real = next_symbol<ssize_t (*)(int, void*, size_t, off_t)>("pread");
  auto& faults = aulos_tests::faults();
  ++faults.reads;
  if (is_interrupted()) return -1;
  if (faults.read_error != 0) return errno = faults.read_error, -1;
  return real(fd, data, std::min(size, faults.max_transfer.load()), offset);
}

extern "C" ssize_t write(int fd, const void* data, size_t size) {
  static const auto real = next_symbol<ssize_t (*)(int, const void*, size_t)>("write");
  auto& faults = aulos_tests::faults();
  if (fd <= 2) return real(fd, data, size);
  if (is_interrupted()) return -1;
  if (faults.write_error != 0) return errno = faults.write_error, -1;
  return real(fd, data, std::min(size, faults.max_transfer.load()));
}

extern "C" int fsync(int fd) {
  static const auto real = next_symbol<int (*)(int)>("fsync");
  ++aulos_tests::faults().syncs;
  if (aulos_tests::faults().sync_error != 0) return errno = aulos_tests::faults().sync_error, -1;
  return real(fd);
}

extern "C" int rename(const char* from, const char* to) {
  static const auto real = next_symbol<int (*)(const char*, const char*)>("rename");
  if (aulos_tests::faults().rename_error != 0) return errno = aulos_tests::faults().rename_error, -1;
  return real(from, to);
}

#if !AULOS_TEST_THREAD_SANITIZED
extern "C" void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) {
  static const auto real = next_symbol<void* (*)(void*, size_t, int, int, int, off_t)>("mmap");
  if (fd >= 0 && aulos_tests::faults().map_error != 0) return errno = aulos_tests::faults().map_error, MAP_FAILED;
  return real(address, size, protection, flags, fd, offset);
}
#endif

namespace aulos::io {
namespace {

using aulos_tests::contains;
using aulos_tests::error_of;
using aulos_tests::faults;
using aulos_tests::Faults;
using aulos_tests::Folder;
using aulos_tests::read_file;
using aulos_tests::write_file;
namespace fs = std::filesystem;

struct FileTest : testing::Test {
  void TearDown() override { faults().reset(); }
  Folder folder;
};

std::string read_all(const File& file) {
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::vector<std::string> names_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

TEST_F(FileTest, ReadsRanges) {
  write_file(folder / "a", "0123456789");
  const File file(folder / "a");
  EXPECT_EQ(file.size(), 10);
  std::string text(4, ' ');
  file.read(3, std::as_writable_bytes(std::span(text)));
  EXPECT_EQ(text, "3456");
  file.read(10, {});
}

TEST_F(FileTest, ShortReadsAndInterruptionsAreContinued) {
  const std::string text(100'000, 'x');
  write_file(folder / "a", text + "end");
  faults().max_transfer = 4096;
  faults().interrupts = true;
  EXPECT_EQ(read_all(File(folder / "a")), text + "end");
  EXPECT_GT(faults().reads, 40);
}

TEST_F(FileTest, ReadErrorsNamePathByteAndReason) {
  write_file(folder / "a", "0123456789");
  const File file(folder / "a");
  faults().read_error = EIO;
  const std::string message = error_of([&] { read_all(file); });
  EXPECT_TRUE(contains(message, folder / "a")) << message;
  EXPECT_TRUE(contains(message, "can't read at byte 0: Input/output error")) << message;
}

TEST_F(FileTest, EndingEarlyIsAnErrorNotZeros) {
  write_file(folder / "a", std::string(1000, 'x'));
  const File file(folder / "a");
  fs::resize_file(folder / "a", 400);
  std::string text(1000, '?');
  const std::string message = error_of([&] { file.read(0, std::as_writable_bytes(std::span(text))); });
  EXPECT_TRUE(contains(message, "ended early at byte 400, expected 600 bytes more")) << message;
}

TEST_F(FileTest, WhatIsNoRegularFileIsRefused) {
  EXPECT_TRUE(contains(error_of([&] { File(folder.path().string()); }), "expected a regular file, got a directory"));
  EXPECT_TRUE(contains(error_of([] { File("/dev/null"); }), "expected a regular file, got a device"));
  EXPECT_TRUE(contains(error_of([] { File("/dev/zero"); }), "expected a regular file, got a device"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_TRUE(contains(error_of([&] { File(folder / "pipe"); }), "expected a regular file, got a pipe"));
  EXPECT_TRUE(contains(error_of([&] { File(folder / "absent"); }), "can't open: No such file or directory"));
  EXPECT_TRUE(contains(error_of([&] { File(folder / "absent/file"); }), "can't open: No such file or directory"));
  fs::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(error_of([&] { File(folder / "loop"); }), "can't open: Too many levels of symbolic links"));
  EXPECT_TRUE(contains(error_of([&] { File(std::string("a\0b", 3)); }), "a path with a NUL byte"));
}

TEST_F(FileTest, TerminalEscapesInPathsArePrinted) {
  EXPECT_TRUE(contains(error_of([&] { File(folder / "\x1b[31m\n"); }), "\\u{001b}[31m\\n: can't open"));
}

// Runs fn in a child without root's powers; its exit status.
template <class Function>
int unprivileged(Function&& fn) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) ::_exit(77);
    ::_exit(fn() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(FileTest, UnreadableFile) {
  write_file(folder / "a", "x");
  fs::permissions(folder / "a", fs::perms::none);
  EXPECT_EQ(
      unprivileged([&] { return contains(error_of([&] { File(folder / "a"); }), "can't open: Permission denied"); }),
      0);
}

TEST_F(FileTest, ParkedFilesAreOpenedAnewAndCompared) {
  write_file(folder / "a", "0123456789");
  const std::size_t before = open_descriptors();
  File file(folder / "a");
  EXPECT_EQ(open_descriptors(), before + 1);
  file.park();
  EXPECT_EQ(open_descriptors(), before);
  EXPECT_EQ(read_all(file), "0123456789");
  EXPECT_EQ(open_descriptors(), before);
  write_file(folder / "b", "9876543210");
  fs::rename(folder / "b", folder / "a");
  EXPECT_TRUE(contains(error_of([&] { read_all(file); }), "changed since its header was read"));
}

TEST_F(FileTest, MappingSurvivesReplacementAndUnlinking) {
  write_file(folder / "a", "0123456789");
  const Mapping mapping{File(folder / "a")};
  ASSERT_EQ(mapping.bytes().size(), 10u);
  write_file(folder / "b", "xxxxxxxxxx");
  fs::rename(folder / "b", folder / "a");
  EXPECT_EQ(std::memcmp(mapping.bytes().data(), "0123456789", 10), 0);
  fs::remove(folder / "a");
  EXPECT_EQ(std::memcmp(mapping.bytes().data(), "0123456789", 10), 0);
}

TEST_F(FileTest, MappingOfAnEmptyOrUnmappableFileIsEmpty) {
  write_file(folder / "empty", "");
  EXPECT_TRUE(Mapping{File(folder / "empty")}.bytes().empty());
  write_file(folder / "a", "x");
  if (AULOS_TEST_THREAD_SANITIZED) return;  // mmap can't be made to fail
  faults().map_error = ENODEV;
  EXPECT_TRUE(Mapping{File(folder / "a")}.bytes().empty());
}

TEST_F(FileTest, ReadTextHasALimit) {
  write_file(folder / "a", "0123456789");
  EXPECT_EQ(read_text(folder / "a", 10), "0123456789");
  EXPECT_TRUE(contains(error_of([&] { read_text(folder / "a", 9); }), "expected at most 9 bytes, got 10"));
}

void save_text(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

TEST_F(FileTest, SavesAndReplaces) {
  save_text(folder / "a", "first");
  EXPECT_EQ(read_file(folder / "a"), "first");
  const std::string large(1'000'000, 'y');
  save_text(folder / "a", large);
  EXPECT_EQ(read_file(folder / "a"), large);
  EXPECT_GE(faults().syncs, 2);
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
}

TEST_F(FileTest, SmallAndLargeWritesKeepTheirOrder) {
  AtomicFile file(folder / "a");
  std::string expected;
  for (std::size_t i = 0; i < 40; ++i) {
    const std::string piece(i * i * 300, static_cast<char>('a' + i % 26));
    file.write(piece);
    expected += piece;
  }
  file.commit();
  EXPECT_EQ(read_file(folder / "a"), expected);
}

TEST_F(FileTest, ShortWritesAndInterruptionsAreContinued) {
  const std::string text(600'000, 'z');
  faults().max_transfer = 1000;
  faults().interrupts = true;
  save_text(folder / "a", text + "end");
  faults().reset();
  EXPECT_EQ(read_file(folder / "a"), text + "end");
}

TEST_F(FileTest, WithoutCommitNothingHappens) {
  write_file(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
  }
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
}

TEST_F(FileTest, FailuresLeaveTheOldFileAndNoTemporary) {
  struct Row {
    std::atomic<int> Faults::*fault;
    int error;
    const char* expected;
  };
  for (const Row row : {Row{&Faults::write_error, ENOSPC, "can't save: No space left on device"},
                        Row{&Faults::write_error, EDQUOT, "can't save: Disk quota exceeded"},
                        Row{&Faults::sync_error, EIO, "can't save: Input/output error"},
                        Row{&Faults::rename_error, EACCES, "can't replace: Permission denied"}}) {
    write_file(folder / "a", "old");
    faults().*row.fault = row.error;
    const std::string message = error_of([&] { save_text(folder / "a", "new"); });
    faults().reset();
    EXPECT_TRUE(contains(message, (folder / "a") + ": " + row.expected)) << message;
    EXPECT_EQ(read_file(folder / "a"), "old");
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
  }
}

TEST_F(FileTest, FileSizeLimitLeavesTheOldFile) {
  const std::string old(200'000, 'o');
  write_file(folder / "a", old);
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit half = before;
  half.rlim_cur = 100'000;
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &half), 0);
  const std::string message = error_of([&] { save_text(folder / "a", std::string(200'000, 'n')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_TRUE(contains(message, "can't save: File too large")) << message;
  EXPECT_EQ(read_file(folder / "a"), old);
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
}

TEST_F(FileTest, DestinationsThatAreNoFileAreRefused) {
  EXPECT_TRUE(
      contains(error_of([] { save_text("/dev/full", "x"); }), "/dev/full: expected a regular file, got a device"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_TRUE(contains(error_of([&] { save_text(folder.path().string(), "x"); }), "got a directory"));
  EXPECT_TRUE(contains(error_of([&] { save_text(folder.path().string() + "/", "x"); }), "expected"));
  EXPECT_TRUE(contains(error_of([&] { save_text(folder / "absent/a", "x"); }), "No such file or directory"));
  EXPECT_NE(error_of([&] { save_text("", "x"); }), "");
  fs::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(error_of([&] { save_text(folder / "loop", "x"); }), "Too many levels of symbolic links"));
}

TEST_F(FileTest, ReadOnlyFolder) {
  fs::create_directory(folder / "locked");
  write_file(folder / "locked/a", "old");
  fs::permissions(folder / "locked", fs::perms(0555));
  EXPECT_EQ(unprivileged([&] {
              return contains(error_of([&] { save_text(folder / "locked/a", "new"); }), "Permission denied");
            }),
            0);
  EXPECT_EQ(read_file(folder / "locked/a"), "old");
  EXPECT_EQ(names_in(folder / "locked"), std::vector<std::string>{"a"});
  fs::permissions(folder / "locked", fs::perms(0755));
}

TEST_F(FileTest, SymbolicLinksAreFollowedHardLinksAreSplit) {
  fs::create_directory(folder / "sub");
  write_file(folder / "sub/real", "old");
  fs::create_symlink("sub/real", folder / "link");
  fs::create_symlink("link", folder / "link2");
  fs::create_hard_link(folder / "sub/real", folder / "hard");
  save_text(folder / "link2", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link2"));
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "sub/real"), "new");
  EXPECT_EQ(read_file(folder / "hard"), "old");
  fs::create_symlink(folder / "sub/later", folder / "dangling");
  save_text(folder / "dangling", "there");
  EXPECT_EQ(read_file(folder / "sub/later"), "there");
}

TEST_F(FileTest, KeepsThePermissionsOfTheOldFile) {
  write_file(folder / "a", "old");
  fs::permissions(folder / "a", fs::perms(0640));
  save_text(folder / "a", "new");
  EXPECT_EQ(fs::status(folder / "a").permissions(), fs::perms(0640));
}

TEST_F(FileTest, StaleTemporariesAreRemovedForeignOnesNotWrittenTo) {
  write_file(folder / ".a.part", "left by a killed saver");
  save_text(folder / "a", "new");
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
  // A planted hard link to a precious file: unlinked, never written through.
  write_file(folder / "precious", "precious");
  fs::create_hard_link(folder / "precious", folder / ".a.part");
  save_text(folder / "a", "newer");
  EXPECT_EQ(read_file(folder / "precious"), "precious");
  EXPECT_EQ(read_file(folder / "a"), "newer");
  fs::create_symlink("precious", folder / ".a.part");
  EXPECT_NE(error_of([&] { save_text(folder / "a", "newest"); }), "");
  EXPECT_EQ(read_file(folder / "precious"), "precious");
  EXPECT_EQ(read_file(folder / "a"), "newer");
}

TEST_F(FileTest, NamesOfFullLength) {
  const std::string name(255, 'n');
  save_text(folder / name, "x");
  EXPECT_EQ(read_file(folder / name), "x");
}

TEST_F(FileTest, SaversOfOnePathTakeTurns) {
  std::vector<std::thread> savers;
  std::atomic<int> failures{0};
  for (int t = 0; t < 4; ++t) {
    savers.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        failures += error_of([&] { save_text(folder / "a", std::string(50'000, static_cast<char>('a' + t))); }) != "";
      }
    });
  }
  for (std::thread& saver : savers) saver.join();
  EXPECT_EQ(failures, 0);
  const std::string text = read_file(folder / "a");
  EXPECT_EQ(text, std::string(50'000, text.empty() ? '?' : text[0]));
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a"});
}

TEST_F(FileTest, KilledSaversLeaveAWholeFile) {
  const std::string a(3'000'000, 'a');
  const std::string b(3'000'000, 'b');
  save_text(folder / "file", a);
  for (int i = 0; i < 50; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      for (;;) save_text(folder / "file", b), save_text(folder / "file", a);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(i * 211 % 7000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string text = read_file(folder / "file");
    ASSERT_TRUE(text == a || text == b) << i;
  }
  save_text(folder / "file", a);
  EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"file"});
}

TEST_F(FileTest, NoDescriptorIsLeftOpen) {
  write_file(folder / "a", "x");
  const std::size_t before = open_descriptors();
  {
    const File file(folder / "a");
    const Mapping mapping(file);
    save_text(folder / "b", "y");
    error_of([&] { File(folder.path().string()); });
    faults().write_error = ENOSPC;
    error_of([&] { save_text(folder / "b", "z"); });
    EXPECT_EQ(open_descriptors(), before + 1);
  }
  EXPECT_EQ(open_descriptors(), before);
}

}  // namespace
}  // namespace aulos::io
