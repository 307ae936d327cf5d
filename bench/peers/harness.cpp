// Runs work on aulos and on its peers, round by round in one process on the same inputs, and writes a JSON line for
// each (work, dtype, threads, peer). docs/benchmarks.md tells what the fields mean.
#include <dlfcn.h>
#include <sched.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "aulos/io/json_writer.hpp"
#include "bench/peers/peak.hpp"
#include "bench/peers/plugin.hpp"
#include "bench/peers/work.hpp"

namespace peers {
namespace {

// What can be measured beside ours, and where it comes from; `./dev bench peers --install` brings all of them.
struct KnownPeer {
  const char *name, *source;
};
constexpr KnownPeer known_peers[] = {{"eigen", "libeigen3-dev"},
                                     {"onednn", "libdnnl-dev"},
                                     {"torch", "libtorch-dev"},
                                     {"libxsmm", "libxsmm-dev"},
                                     {"openblas", "libopenblas-dev"},
                                     {"blis", "libblis-dev"},
                                     {"onnxruntime", "npm onnxruntime-node"},
                                     {"ggml", "npm @node-llama-cpp/linux-x64"}};
constexpr std::string_view ours = "aulos";

// Wall time, or that of the calling thread alone, which leaves out what others of a busy machine take. The latter is
// for one thread: then all peers work on the caller.
enum class Clock { wall, thread };

struct Options {
  std::string json;  // empty: standard output
  std::vector<std::string> require;
  std::vector<int> threads;
  std::filesystem::path plugins;
  Clock clock = Clock::wall;
  double seconds = 1;  // of rounds of one work in one dtype, unless min_rounds take longer
  std::string regex = ".";
};

constexpr int min_rounds = 5, max_rounds = 200;

class UsageError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

double number(const std::string& option, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value > 0)) {
    throw UsageError(option + " takes a number above 0, not \"" + text + '"');
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  options.plugins = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  bool have_regex = false;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (i + 1 >= argc) throw UsageError(option + " needs a value");
      return argv[++i];
    };
    if (option == "--json") {
      options.json = value();
    } else if (option == "--require") {
      options.require = split(value());
      for (const std::string& name : options.require) {
        const auto same = [&](const KnownPeer& peer) { return peer.name == name; };
        if (std::none_of(std::begin(known_peers), std::end(known_peers), same)) {
          throw UsageError("--require: no peer is called \"" + name + '"');
        }
      }
    } else if (option == "--threads") {
      for (const std::string& text : split(value())) options.threads.push_back(static_cast<int>(number(option, text)));
    } else if (option == "--seconds") {
      options.seconds = number(option, value());
    } else if (option == "--clock") {
      const std::string clock = value();
      if (clock != "wall" && clock != "thread") throw UsageError("--clock takes wall or thread, not \"" + clock + '"');
      options.clock = clock == "wall" ? Clock::wall : Clock::thread;
    } else if (option == "--plugins") {
      options.plugins = value();
    } else if (option.starts_with("-") || have_regex) {
      throw UsageError("unexpected argument " + option);
    } else {
      options.regex = option;
      have_regex = true;
    }
  }
  if (options.threads.empty()) {
    options.threads = {1};
    if (std::thread::hardware_concurrency() > 1) options.threads.push_back(2);
  }
  if (options.clock == Clock::thread && *std::max_element(options.threads.begin(), options.threads.end()) > 1) {
    throw UsageError("--clock thread is for --threads 1");
  }
  return options;
}

// "AMD EPYC 9B14 (family 25 model 17)"; its architecture where the system doesn't tell.
std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  std::string name, family, model;
  for (std::string line; std::getline(info, line) && !line.empty();) {
    const auto field = [&](const char* key) {
      const std::size_t colon = line.find(": ");
      const bool same = colon != line.npos && line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1) == key;
      return same ? line.substr(colon + 2) : std::string();
    };
    if (const std::string text = field("model name"); !text.empty()) name = text;
    if (const std::string text = field("cpu family"); !text.empty()) family = text;
    if (const std::string text = field("model"); !text.empty()) model = text;
  }
#if defined(__aarch64__)
  if (name.empty()) name = "aarch64";
#else
  if (name.empty()) name = "unknown";
#endif
  return family.empty() ? name : name + " (family " + family + " model " + model + ")";
}

// The peers of all plugins in a folder, ours first. Plugins see each other's libraries as little as possible.
std::vector<Peer> load_peers(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("peer_") && name.ends_with(".so")) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Peer> peers;
  for (const auto& file : files) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      std::fprintf(stderr, "%s\n", dlerror());
      continue;
    }
    const auto add = reinterpret_cast<void (*)(std::vector<Peer>&)>(dlsym(library, "register_peers"));
    if (add) add(peers);
  }
  std::stable_partition(peers.begin(), peers.end(), [](const Peer& peer) { return peer.name == ours; });
  return peers;
}

// onednn of onednn+convert: variants of one library.
std::string library_of(const Peer& peer) { return peer.name.substr(0, peer.name.find('+')); }

bool is_memory(const Peer& peer) { return peer.name == "copy" || peer.name == "read"; }

// The processors that this thread may use. OpenMP's runtimes may bind the thread that loads them, or that first calls
// them, to one, and threads that other peers start from it would all inherit that one.
class Affinity {
 public:
  Affinity() { known_ = sched_getaffinity(0, sizeof mask_, &mask_) == 0; }
  void restore() const {
    if (known_) sched_setaffinity(0, sizeof mask_, &mask_);
  }

 private:
  cpu_set_t mask_{};
  bool known_ = false;
};

const Affinity affinity_at_start;

std::unique_ptr<Job> prepare(const Peer& peer, const Work& work) {
  affinity_at_start.restore();
  try {
    return peer.prepare(work);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s %s: %s\n", peer.name.c_str(), work.name.c_str(), name_of(work.dtype), error.what());
    return nullptr;
  }
}

double seconds(Clock clock) {
  timespec now{};
  clock_gettime(clock == Clock::wall ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_of(Job& job, long repeats, Clock clock) {
  const double begin = seconds(clock);
  for (long i = 0; i < repeats; ++i) job.run();
  return (seconds(clock) - begin) / static_cast<double>(repeats);
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto place = values.begin() + static_cast<std::ptrdiff_t>(q * static_cast<double>(values.size() - 1) + 0.5);
  std::nth_element(values.begin(), place, values.end());
  return *place;
}

// The largest difference by the largest reference value; not a number where either isn't.
double difference(const std::vector<float>& got, const std::vector<float>& reference) {
  double worst = 0, most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(reference[i]));
    if (!(error <= worst)) worst = error;
    most = std::max(most, std::abs(static_cast<double>(reference[i])));
  }
  return worst / most;
}

// What our result may differ from an f32 peer's.
double tolerance(Dtype dtype) { return dtype == Dtype::f32 ? 1e-3 : dtype == Dtype::bf16 ? 5e-2 : 1e-1; }

struct Contender {
  const Peer* peer;
  std::unique_ptr<Job> job;
  double err = 0;
  double estimate = 0;          // seconds of a run
  long repeats = 1;             // runs in a round
  bool single = false;          // needs before() before every run
  std::vector<double> times{};  // by round; NaN where it didn't run

  std::vector<double> measured() const {
    std::vector<double> kept;
    std::copy_if(times.begin(), times.end(), std::back_inserter(kept), [](double t) { return t == t; });
    return kept;
  }
  double median() const { return quantile(measured(), 0.5); }
  double best() const { return quantile(measured(), 0); }
};

// Median over the rounds of both of the ratio of their times.
double ratio(const Contender& peer, const Contender& us) {
  std::vector<double> ratios;
  for (std::size_t round = 0; round < us.times.size(); ++round) {
    const double value = peer.times[round] / us.times[round];
    if (value == value) ratios.push_back(value);
  }
  return quantile(ratios, 0.5);
}

class Session {
 public:
  Session(Options options, std::vector<Peer> peers, std::FILE* out)
      : options_(std::move(options)), peers_(std::move(peers)), out_(out), processor_(processor_name()) {}

  // Whether our results agree with the others'.
  bool agreed() const { return agreed_; }

  void measure(OwnedWork& owned, const std::regex& wanted) {
    std::vector<float> reference;
    for (const Dtype dtype : owned.dtypes()) {
      for (const int threads : options_.threads) {
        const std::string full = owned.work().name + "/" + name_of(dtype) + "/" + std::to_string(threads);
        if (!std::regex_search(full, wanted)) continue;
        owned.make_inputs();
        if (reference.empty()) reference = reference_of(owned.with(Dtype::f32, 1));
        measure(owned.with(dtype, threads), reference);
      }
    }
  }

 private:
  // The f32 result of the first peer that is not ours, else ours.
  std::vector<float> reference_of(const Work& work) const {
    std::vector<const Peer*> order;
    for (const Peer& peer : peers_) {
      if (peer.name != ours && !is_memory(peer)) order.push_back(&peer);
    }
    for (const Peer& peer : peers_) {
      if (peer.name == ours) order.push_back(&peer);
    }
    std::vector<float> result(static_cast<std::size_t>(work.results));
    for (const Peer* peer : order) {
      if (const auto job = prepare(*peer, work)) {
        job->before();
        job->run();
        job->result(result);
        return result;
      }
    }
    return result;
  }

  void measure(const Work& work, const std::vector<float>& reference) {
    std::vector<Contender> contenders;
    std::vector<float> result(reference.size());
    for (const Peer& peer : peers_) {
      Contender contender{.peer = &peer, .job = prepare(peer, work)};
      if (!contender.job) continue;
      contender.single = contender.job->before();
      contender.estimate = seconds_of(*contender.job, 1, options_.clock);
      if (!is_memory(peer)) {
        contender.job->result(result);
        contender.err = difference(result, reference);
      }
      if (!contender.single) {
        if (contender.estimate < 0.1) contender.estimate = seconds_of(*contender.job, 1, options_.clock);  // warm
        contender.repeats = std::max(1L, static_cast<long>(0.002 / std::max(contender.estimate, 1e-7)));
      }
      contenders.push_back(std::move(contender));
    }
    if (contenders.empty()) return;
    const double peak = run_rounds(work, contenders);
    report(work, contenders, peak);
  }

  // Fills the times; gives the best peak.
  double run_rounds(const Work& work, std::vector<Contender>& contenders) const {
    double fastest = std::numeric_limits<double>::infinity(), peak = 0;
    for (const Contender& c : contenders) fastest = std::min(fastest, is_memory(*c.peer) ? fastest : c.estimate);
    const double begin = seconds(Clock::wall);
    for (int round = 0; round < max_rounds && (round < min_rounds || seconds(Clock::wall) - begin < options_.seconds);
         ++round) {
      peak = std::max(peak, peak_rate(work.dtype, work.threads));
      for (std::size_t i = 0; i < contenders.size(); ++i) {
        Contender& c = contenders[(i + static_cast<std::size_t>(round)) % contenders.size()];
        // One that is far behind is measured well enough in a few rounds, and would take all the time.
        const bool far_behind = c.estimate > 0.05 && c.estimate > 4 * fastest;
        if (far_behind && (round >= 2 || c.estimate > 1)) {
          c.times.push_back(round == 0 ? c.estimate : std::numeric_limits<double>::quiet_NaN());
          continue;
        }
        // The pools of others spin for some time after their work.
        if (work.threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(30));
        c.job->before();
        if (c.estimate < 0.02 && !c.single) c.job->run();  // its operands are in the cache, as in a loop of its own
        c.times.push_back(seconds_of(*c.job, c.repeats, options_.clock));
      }
    }
    return peak;
  }

  void report(const Work& work, const std::vector<Contender>& contenders, double peak) {
    const Contender* us = nullptr;
    const Contender* best = nullptr;
    for (const Contender& c : contenders) {
      if (c.peer->name == ours) us = &c;
    }
    for (const Contender& c : contenders) {
      if (!us || &c == us || is_memory(*c.peer)) continue;
      if (!best || ratio(c, *us) < ratio(*best, *us)) best = &c;
    }
    for (const Contender& c : contenders) {
      const double median = c.median(), rate = work.flops / median;
      const bool counts = work.flops > 0 && !is_memory(*c.peer);
      const Contender* other = &c == us ? best : &c;
      aulos::io::json::Writer line;
      line.begin_object();
      line.key("work").value(work.name).key("dtype").value(name_of(work.dtype)).key("threads").value(work.threads);
      line.key("peer").value(c.peer->name).key("version").value(c.peer->version).key("processor").value(processor_);
      line.key("clock").value(options_.clock == Clock::wall ? "wall" : "thread");
      line.key("rounds").value(c.measured().size()).key("median_s").value(round(median));
      line.key("min_s").value(round(c.best())).key("p99_s").value(round(quantile(c.measured(), 0.99)));
      line.key("gflops").value(counts ? round(rate / 1e9) : 0.0);
      line.key("peak").value(round(peak / 1e9)).key("instruction").value(peak_instruction(work.dtype));
      line.key("peak_share").value(counts ? round(rate / peak) : 0.0);
      if (us && other) {
        line.key("ratio").value(round(ratio(*other, *us)));
      } else {
        line.key("ratio").null();
      }
      if (is_memory(*c.peer)) {
        line.key("err").null();
      } else {
        line.key("err").value(round(c.err));
      }
      line.end_object();
      std::fprintf(out_, "%s\n", line.text().c_str());
    }
    std::fflush(out_);
    print(work, contenders, us, best, peak);
  }

  void print(const Work& work, const std::vector<Contender>& contenders, const Contender* us, const Contender* best,
             double peak) {
    std::fprintf(stderr, "%s %s, %d thread%s", work.name.c_str(), name_of(work.dtype), work.threads,
                 work.threads > 1 ? "s" : "");
    if (us && best) std::fprintf(stderr, ": %.2fx %s", ratio(*best, *us), best->peer->name.c_str());
    std::fprintf(stderr, "\n");
    for (const Contender& c : contenders) {
      const double median = c.median();
      std::fprintf(stderr, "  %-20s %10.4f ms", c.peer->name.c_str(), median * 1e3);
      if (work.flops > 0 && !is_memory(*c.peer)) {
        std::fprintf(stderr, " %7.1f GFLOP/s %3.0f %%", work.flops / median / 1e9, 100 * work.flops / median / peak);
      }
      if (us && &c != us) {
        std::fprintf(stderr, " %6.2fx (best times %.2fx)", ratio(c, *us), c.best() / us->best());
      }
      if (!is_memory(*c.peer)) std::fprintf(stderr, "  err %.1e", c.err);
      std::fprintf(stderr, "\n");
    }
    if (us && !(us->err <= tolerance(work.dtype))) {
      std::fprintf(stderr, "  our result differs from the others'\n");
      agreed_ = false;
    }
  }

  // Four digits tell all there is.
  static double round(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return std::strtod(text, nullptr);
  }

  Options options_;
  std::vector<Peer> peers_;
  std::FILE* out_;
  std::string processor_;
  bool agreed_ = true;
};

// The works that the expression finds in the default set, by "work/dtype/threads"; else the work of that very name.
std::vector<OwnedWork> wanted_works(const Options& options, std::regex& wanted) {
  const auto matches = [&](const OwnedWork& work) {
    for (const Dtype dtype : work.dtypes()) {
      for (const int threads : options.threads) {
        const std::string full = work.work().name + "/" + name_of(dtype) + "/" + std::to_string(threads);
        if (std::regex_search(full, wanted)) return true;
      }
    }
    return false;
  };
  std::vector<OwnedWork> works;
  if (auto named = OwnedWork::parse(options.regex)) {
    wanted = std::regex("^" + options.regex + "/");
    works.push_back(std::move(*named));
    return works;
  }
  for (const std::string& name : default_works()) {
    auto work = OwnedWork::parse(name);
    if (work && matches(*work)) works.push_back(std::move(*work));
  }
  return works;
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  std::regex wanted(options.regex);
  std::vector<OwnedWork> works = wanted_works(options, wanted);
  if (works.empty()) throw UsageError("no work matches \"" + options.regex + '"');

  // The pools of the peers are made when they are loaded.
  const std::string threads = std::to_string(*std::max_element(options.threads.begin(), options.threads.end()));
  for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS"}) {
    setenv(name, threads.c_str(), 1);
  }
  std::vector<Peer> peers = load_peers(options.plugins);
  std::set<std::string> found;
  for (const Peer& peer : peers) found.insert(library_of(peer));
  if (!found.contains(std::string(ours))) throw UsageError("no plugin of ours in " + options.plugins.string());
  bool complete = true;
  for (const KnownPeer& peer : known_peers) {
    if (found.contains(peer.name)) continue;
    std::fprintf(stderr, "no peer %s (%s)\n", peer.name, peer.source);
    if (std::find(options.require.begin(), options.require.end(), peer.name) != options.require.end()) complete = false;
  }
  if (!complete) return 3;

  std::FILE* out = options.json.empty() ? stdout : std::fopen(options.json.c_str(), "w");
  if (!out) throw UsageError("cannot write " + options.json);
  Session session(options, std::move(peers), out);
  for (OwnedWork& work : works) {
    session.measure(work, wanted);
    work.drop_inputs();
  }
  if (out != stdout) std::fclose(out);
  return session.agreed() ? 0 : 1;
}

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  try {
    return peers::run(argc, argv);
  } catch (const peers::UsageError& error) {
    std::fprintf(stderr,
                 "peers: %s\nusage: peers [--json FILE] [--require NAMES] [--threads LIST] [--seconds S] "
                 "[--clock wall|thread] "
                 "[--plugins FOLDER] [REGEX]\n",
                 error.what());
    return 2;
  } catch (const std::regex_error& error) {
    std::fprintf(stderr, "peers: not a regular expression: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peers: %s\n", error.what());
    return 1;
  }
}
