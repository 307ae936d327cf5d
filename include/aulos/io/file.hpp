// Regular files: read at an offset, mapped, and replaced as a whole. POSIX.
#pragma once

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "aulos/core/config.hpp"
#include "aulos/core/error.hpp"
#include "aulos/core/span.hpp"
#include "aulos/core/text.hpp"
#include "aulos/io/text.hpp"

namespace aulos::inline AULOS_ISA::io {

// A file can't be opened, read, written or replaced: names the path, what was tried, and the system's reason.
class FileError : public CheckpointError {
 public:
  using CheckpointError::CheckpointError;
};

namespace detail {

static_assert(sizeof(off_t) >= 8, "files beyond 2 GiB: build with -D_FILE_OFFSET_BITS=64");

inline constexpr std::size_t max_transfer = std::size_t{1} << 30;  // the kernel cuts a request at some 2 GiB

[[noreturn]] inline void throw_errno(const std::string& path, const std::string& what, int error) {
  throw FileError(concat_text({printable(path, 4096), ": ", what, ": ", std::generic_category().message(error)}));
}

inline const char* file_kind(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISCHR(mode) || S_ISBLK(mode)) return "a device";
  return "a special file";
}

inline void require_regular(const std::string& path, const struct stat& status) {
  if (S_ISREG(status.st_mode)) return;
  throw FileError(concat_text({printable(path, 4096), ": expected a regular file, got ", file_kind(status.st_mode)}));
}

// Whether two looks at a path saw the same file with the same contents.
inline bool is_unchanged(const struct stat& a, const struct stat& b) {
#if defined(__APPLE__)
  const auto& a_time = a.st_mtimespec;
  const auto& b_time = b.st_mtimespec;
#else
  const auto& a_time = a.st_mtim;
  const auto& b_time = b.st_mtim;
#endif
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size && a_time.tv_sec == b_time.tv_sec &&
         a_time.tv_nsec == b_time.tv_nsec;
}

// Owns a file descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

inline int open_retrying(const char* path, int flags, mode_t mode = 0) {
  int fd = -1;
  do fd = ::open(path, flags, mode);
  while (fd < 0 && errno == EINTR);
  return fd;
}

}  // namespace detail

// An open regular file of the size it had when opened. Reads from many threads at once are fine.
class File {
 public:
  // Refuses directories, pipes and devices before opening them (a pipe would block).
  explicit File(std::string path) : path_(std::move(path)) {
    if (path_.find('\0') != std::string::npos) throw FileError(printable(path_, 4096) + ": a path with a NUL byte");
    struct stat status {};
    if (::stat(path_.c_str(), &status) != 0) detail::throw_errno(path_, "can't open", errno);
    detail::require_regular(path_, status);
    fd_ = open_descriptor(status_);
  }

  const std::string& path() const { return path_; }
  Index size() const { return static_cast<Index>(status_.st_size); }

  // Exactly `destination.size()` bytes from `offset` on, whatever the number of system calls it takes.
  void read(Index offset, std::span<std::byte> destination) const {
    struct stat status {};
    detail::Descriptor reopened;
    if (!fd_) {
      reopened = open_descriptor(status);
      if (!detail::is_unchanged(status_, status)) {
        throw FileError(printable(path_, 4096) + ": changed since its header was read");
      }
    }
    const int fd = fd_ ? fd_.get() : reopened.get();
    while (!destination.empty()) {
      const std::size_t request = (std::min)(destination.size(), detail::max_transfer);
      const off_t position = offset;
      const ssize_t got = ::pread(fd, destination.data(), request, position);
      if (got < 0) {
        if (errno == EINTR) continue;
        detail::throw_errno(path_, "can't read at byte " + std::to_string(offset), errno);
      }
      if (got == 0) {
        throw FileError(
            concat_text({printable(path_, 4096), ": ended early at byte ", offset, ", expected ", destination.size(),
                         " bytes more (it had ", size(), " bytes when it was opened)"}));
      }
      offset += static_cast<Index>(got);
      destination = destination.subspan(static_cast<std::size_t>(got));
    }
  }

  // Gives the descriptor back; each read opens the file anew, and fails if it isn't the same any more.
  void park() { fd_ = detail::Descriptor(); }

  int descriptor() const { return fd_.get(); }

 private:
  detail::Descriptor open_descriptor(struct stat& status) const {
    detail::Descriptor fd(detail::open_retrying(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) detail::throw_errno(path_, "can't open", errno);
    if (::fstat(fd.get(), &status) != 0) detail::throw_errno(path_, "can't inspect", errno);
    detail::require_regular(path_, status);
    return fd;
  }

  std::string path_;
  struct stat status_ {};
  detail::Descriptor fd_;
};

// A whole file as read-only memory, fast and without a copy. What no mapping survives: if another process truncates
// the file, reading the lost pages ends this one (SIGBUS). Replacing or unlinking it is harmless.
class Mapping {
 public:
  // Empty where the file system or the address space refuses: then read() is the way.
  explicit Mapping(const File& file) noexcept {
    if (file.size() == 0 || static_cast<std::uint64_t>(file.size()) > SIZE_MAX / 2) return;
    const auto bytes = static_cast<std::size_t>(file.size());
    void* const data = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (data != MAP_FAILED) bytes_ = {static_cast<const std::byte*>(data), bytes};
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

// A whole regular file of at most `limit` bytes.
inline std::string read_text(const std::string& path, Index limit) {
  const File file(path);
  if (file.size() > limit) {
    throw FileError(concat_text({printable(path, 4096), ": expected at most ", limit, " bytes, got ", file.size()}));
  }
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read(0, as_bytes(text));
  return text;
}

// Replaces a file by a new one, whole or not at all: the bytes go to `.NAME.part` beside it, and commit() syncs and
// renames. Without commit(), and on any failure, the old file is as it was and the temporary is gone. A symbolic link
// is followed: what it points to is replaced. Savers of one path take turns (advisory lock on the temporary); what a
// killed one left behind, the next one removes. Anything but a regular file, /dev/full say, is refused.
template <class = Deferred>
class BasicAtomicFile {
 public:
  explicit BasicAtomicFile(const std::string& path) : path_(path), target_(follow_links(path)) {
    struct stat status {};
    const bool exists = ::lstat(target_.c_str(), &status) == 0;
    if (exists) detail::require_regular(path_, status);
    const std::size_t slash = target_.rfind('/') + 1;  // 0 if there is none
    if (slash == target_.size()) throw FileError(printable(path_, 4096) + ": expected the name of a file");
    temporary_ = target_.substr(0, slash) + "." + target_.substr(slash, 240) + ".part";
    create();
    if (exists) ::fchmod(fd_.get(), status.st_mode & 07777);  // best effort: the file may be another user's
    buffer_.reserve(buffer_bytes);
  }
  BasicAtomicFile(const BasicAtomicFile&) = delete;
  BasicAtomicFile& operator=(const BasicAtomicFile&) = delete;
  ~BasicAtomicFile() {
    if (fd_) ::unlink(temporary_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    if (buffer_.size() + bytes.size() > buffer_bytes) flush();
    if (bytes.size() >= buffer_bytes) {
      write_through(bytes);
    } else {
      buffer_.insert(buffer_.end(), bytes.data(), bytes.data() + bytes.size());
    }
  }
  void write(std::string_view text) { write(as_bytes(text)); }

  void commit() {
    flush();
    if (::fsync(fd_.get()) != 0 && errno != EINVAL) detail::throw_errno(path_, "can't save", errno);
    if (::rename(temporary_.c_str(), target_.c_str()) != 0) detail::throw_errno(path_, "can't replace", errno);
    fd_ = detail::Descriptor();
    const std::string folder = target_.substr(0, target_.rfind('/') + 1);
    const detail::Descriptor directory(
        detail::open_retrying(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC));
    if (directory) ::fsync(directory.get());  // best effort: the new file itself is on disk
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 18;

  // The end of a chain of symbolic links, whether or not anything is there.
  static std::string follow_links(std::string path) {
    if (path.find('\0') != std::string::npos) throw FileError(printable(path, 4096) + ": a path with a NUL byte");
    const std::string first = path;
    for (int i = 0; i < 40; ++i) {
      char link[4096];
      const ssize_t length = ::readlink(path.c_str(), link, sizeof(link));
      if (length < 0) return path;
      const std::string_view next(link, static_cast<std::size_t>(length));
      path = next.substr(0, 1) == "/" ? std::string(next) : path.substr(0, path.rfind('/') + 1).append(next);
    }
    detail::throw_errno(first, "can't save", ELOOP);
  }

  // A new inode every time, so that nothing which already exists is ever written to. The holder of the lock on the
  // inode that bears the temporary's name is the one who saves.
  void create() {
    for (;;) {
      fd_ = detail::Descriptor();
      detail::Descriptor fd(
          detail::open_retrying(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666));
      const bool created = static_cast<bool>(fd);
      if (!created) {
        if (errno != EEXIST) detail::throw_errno(path_, "can't create " + printable(temporary_, 4096), errno);
        fd = detail::Descriptor(
            detail::open_retrying(temporary_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
        if (!fd && errno == ENOENT) continue;
        if (!fd) detail::throw_errno(path_, "can't replace " + printable(temporary_, 4096), errno);
      }
      while (::flock(fd.get(), LOCK_EX) != 0) {
        if (errno == EINTR) continue;
        if (errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS) break;  // a file system without locks
        detail::throw_errno(path_, "can't lock " + printable(temporary_, 4096), errno);
      }
      struct stat ours {};
      struct stat named {};
      if (::fstat(fd.get(), &ours) != 0 || ::lstat(temporary_.c_str(), &named) != 0 || ours.st_ino != named.st_ino ||
          ours.st_dev != named.st_dev) {
        continue;  // renamed or removed while we waited
      }
      if (created) {
        fd_ = std::move(fd);
        return;
      }
      if (::unlink(temporary_.c_str()) != 0 && errno != ENOENT) {
        detail::throw_errno(path_, "can't remove " + printable(temporary_, 4096), errno);
      }
    }
  }

  void flush() {
    write_through(as_span(buffer_));
    buffer_.clear();
  }

  void write_through(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(fd_.get(), bytes.data(), (std::min)(bytes.size(), detail::max_transfer));
      if (put < 0) {
        if (errno == EINTR) continue;
        detail::throw_errno(path_, "can't save", errno);
      }
      if (put == 0) detail::throw_errno(path_, "can't save", EIO);
      bytes = bytes.subspan(static_cast<std::size_t>(put));
    }
  }

  std::string path_;
  std::string target_;
  std::string temporary_;
  detail::Descriptor fd_;
  std::vector<std::byte> buffer_;
};
using AtomicFile = BasicAtomicFile<>;

}  // namespace aulos::inline AULOS_ISA::io
