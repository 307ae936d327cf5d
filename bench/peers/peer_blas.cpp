// OpenBLAS and BLIS through the C interface that both have: y = x W^T, then the bias, which BLAS has no place for.
// Each is opened by itself and looks up its own names first, so that they coexist.
#include <dlfcn.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/plugin.hpp"

namespace peers {
namespace {

enum CblasOrder { row_major = 101 };
enum CblasTranspose { as_it_is = 111, transposed = 112 };
using Sgemm = void (*)(CblasOrder, CblasTranspose, CblasTranspose, int m, int n, int k, float alpha, const float* a,
                       int lda, const float* b, int ldb, float beta, float* c, int ldc);
using Sgemv = void (*)(CblasOrder, CblasTranspose, int m, int n, float alpha, const float* a, int lda, const float* x,
                       int incx, float beta, float* y, int incy);

class Blas {
 public:
  explicit Blas(const char* file) : library_(dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND)) {
    if (!library_) return;
    sgemm = function<Sgemm>("cblas_sgemm");
    sgemv = function<Sgemv>("cblas_sgemv");
  }

  bool found() const { return sgemm && sgemv; }
  template <class F>
  F function(const char* name) const {
    return reinterpret_cast<F>(dlsym(library_, name));
  }

  Sgemm sgemm = nullptr;
  Sgemv sgemv = nullptr;

 private:
  void* library_;
};

template <class SetThreads>
Peer peer(std::string name, std::string version, const Blas& blas, SetThreads set_threads) {
  return {std::move(name), std::move(version), [=](const Work& work) -> std::unique_ptr<Job> {
            if (work.kind != Kind::gemm || work.dtype != Dtype::f32) return nullptr;
            const int m = static_cast<int>(work.extents[0]), k = static_cast<int>(work.extents[1]),
                      n = static_cast<int>(work.extents[2]);
            return job_writing(work.results, [=, x = work["x"].data, weight = work["weight"].data,
                                              bias = work["bias"].data, threads = work.threads](float* y) {
              set_threads(threads);
              // With beta 1 the bias may be there before the product.
              for (int row = 0; row < m; ++row) std::copy_n(bias, n, y + static_cast<std::int64_t>(row) * n);
              if (m == 1) {
                blas.sgemv(row_major, as_it_is, n, k, 1, weight, k, x, 1, 1, y, 1);
              } else {
                blas.sgemm(row_major, as_it_is, transposed, m, n, k, 1, x, k, weight, k, 1, y, n);
              }
            });
          }};
}

}  // namespace
}  // namespace peers

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  using namespace peers;
  if (const Blas blas("libopenblas.so.0"); blas.found()) {
    const auto set_threads = blas.function<void (*)(int)>("openblas_set_num_threads");
    const auto config = blas.function<const char* (*)()>("openblas_get_config");
    std::string version = config ? config() : "OpenBLAS unknown";
    version.erase(0, version.find(' ') + 1);
    list.push_back(peer("openblas", version.substr(0, version.find(' ')), blas, [=](int threads) {
      if (set_threads) set_threads(threads);
    }));
  }
  if (const Blas blas("libblis.so.4"); blas.found()) {
    const auto set_threads = blas.function<void (*)(std::int64_t)>("bli_thread_set_num_threads");
    const auto version = blas.function<const char* (*)()>("bli_info_get_version_str");
    list.push_back(peer("blis", version ? version() : "unknown", blas, [=](int threads) {
      if (set_threads) set_threads(threads);
    }));
  }
}
