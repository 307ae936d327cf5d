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
#include <limits>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <thread>

#include "aulos/core/threads.hpp"
#include "aulos/io/json_writer.hpp"
#include "bench/peers/options.hpp"
#include "bench/peers/peak.hpp"
#include "bench/peers/plugin.hpp"
#include "bench/peers/processor.hpp"
#include "bench/peers/work.hpp"

namespace peers {
namespace {

constexpr std::string_view ours = "aulos";

// Rounds of one work; fewest_rounds where the run would otherwise take longer than it may.
constexpr int min_rounds = 5, max_rounds = 200, fewest_rounds = 2;
// Calls of ours that are timed one by one, where that is asked for.
constexpr std::size_t min_calls = 20, max_calls = 400;

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

// What each call of ours takes, and beside it a loop of the peak's instruction that takes as long: in calls in turn.
struct Calls {
  std::vector<double> ours, loop;

  static double p50(const std::vector<double>& times) { return quantile(times, 0.5); }
  static double p99(const std::vector<double>& times) { return quantile(times, 0.99); }
  // Whether the machine was steady enough to judge ours by.
  bool steady() const { return p99(loop) <= 1.1 * p50(loop); }
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
  // `measurements` are to come.
  Session(Options options, std::vector<Peer> peers, std::FILE* out, long measurements)
      : options_(std::move(options)),
        peers_(std::move(peers)),
        out_(out),
        processor_(processor_name()),
        left_(measurements) {}

  // Whether our results agree with the others'.
  bool agreed() const { return agreed_; }

  // Says how long it all took; whether that is no longer than it may.
  bool in_time() const {
    const double minutes = elapsed() / 60;
    std::fprintf(stderr, "%ld measurements, %ld rounds in %.1f minutes (of %g)\n", measured_, rounds_, minutes,
                 options_.minutes);
    return minutes <= options_.minutes;
  }

  void measure(OwnedWork& owned, const std::regex& wanted) {
    std::vector<float> reference;
    for (const Dtype dtype : owned.dtypes()) {
      for (const int threads : options_.threads) {
        const std::string full = owned.work().name + "/" + name_of(dtype) + "/" + std::to_string(threads);
        if (!std::regex_search(full, wanted)) continue;
        // The time that is left, shared by what is left.
        const double end = elapsed() + (60 * options_.minutes - elapsed()) / static_cast<double>(std::max(left_, 1L));
        owned.make_inputs();
        if (reference.empty()) reference = reference_of(owned.with(Dtype::f32, 1));
        measure(owned.with(dtype, threads), reference, end);
        ++measured_;
        --left_;
      }
    }
  }

 private:
  // The f32 result of the first peer that is not ours, else ours.
  std::vector<float> reference_of(const Work& work) const {
    std::vector<const Peer*> order;
    for (const Peer& peer : peers_) {
      if (peer.name != ours && !is_limit(peer.name)) order.push_back(&peer);
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

  double elapsed() const { return seconds(Clock::wall) - begin_; }

  void measure(const Work& work, const std::vector<float>& reference, double end) {
    std::vector<Contender> contenders;
    std::vector<float> result(reference.size());
    for (const Peer& peer : peers_) {
      Contender contender{.peer = &peer, .job = prepare(peer, work)};
      if (!contender.job) continue;
      contender.single = contender.job->before();
      contender.estimate = seconds_of(*contender.job, 1, options_.clock);
      if (!is_limit(peer.name)) {
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
    run_rounds(work, contenders, end);
    std::optional<Calls> calls;
    if (work.each_call && contenders.front().peer->name == ours) calls = time_calls(work, contenders.front());
    report(work, contenders, peak_of(work), calls);
  }

  // The best rate that this run has seen so far, of what products of this dtype consist of.
  double& peak_of(const Work& work) { return peaks_[{work.dtype, work.threads}]; }

  // Fills the times, and takes the peak between them.
  void run_rounds(const Work& work, std::vector<Contender>& contenders, double end) {
    double fastest = std::numeric_limits<double>::infinity();
    double& peak = peak_of(work);
    for (const Contender& c : contenders) fastest = std::min(fastest, is_limit(c.peer->name) ? fastest : c.estimate);
    const double begin = elapsed();
    const auto enough = [&](int rounds) {
      if (rounds >= min_rounds && elapsed() - begin >= options_.seconds) return true;
      return rounds >= max_rounds || (rounds >= fewest_rounds && elapsed() >= end);
    };
    for (int round = 0; !enough(round); ++round, ++rounds_) {
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
        if (!c.single) warm(c, work.threads);
        c.times.push_back(seconds_of(*c.job, c.repeats, options_.clock));
      }
    }
  }

  // Operands are in the cache then, as in a loop of its own, and threads that slept work beside the caller: a system
  // may wake them on the caller's processor, from where they are moved tens of milliseconds later. Long work hardly
  // notices either.
  static void warm(const Contender& c, int threads) {
    constexpr double spreading = 0.1, long_work = 0.3;
    if (threads == 1) {
      if (c.estimate < 0.02) c.job->run();
    } else if (c.estimate < long_work) {
      const double begin = seconds(Clock::wall);
      do c.job->run();
      while (seconds(Clock::wall) - begin < spreading);
    }
  }

  Calls time_calls(const Work& work, Contender& us) const {
    aulos::ThreadTeam team(work.threads);
    const auto loop = [&](long steps) {
      const double before = seconds(options_.clock);
      team.threads().run(work.threads, [&](aulos::Index, aulos::Scratch&) { run_peak(work.dtype, steps); });
      return seconds(options_.clock) - before;
    };
    constexpr long some = 100'000;
    double some_seconds = std::numeric_limits<double>::infinity();
    for (int i = 0; i < 10; ++i) some_seconds = std::min(some_seconds, loop(some));
    const long steps = std::max(1L, static_cast<long>(us.best() / some_seconds * some));
    Calls calls;
    const double begin = elapsed(), longest = 4 * options_.seconds;
    while (calls.ours.size() < max_calls && (calls.ours.size() < min_calls || elapsed() - begin < longest)) {
      // The workers of the other have gone to sleep by then.
      if (work.threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      calls.loop.push_back(loop(steps));
      if (work.threads > 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      us.job->before();
      calls.ours.push_back(seconds_of(*us.job, 1, options_.clock));
    }
    return calls;
  }

  void report(const Work& work, const std::vector<Contender>& contenders, double peak,
              const std::optional<Calls>& calls) {
    const Contender* us = nullptr;
    const Contender* best = nullptr;
    for (const Contender& c : contenders) {
      if (c.peer->name == ours) us = &c;
    }
    for (const Contender& c : contenders) {
      if (!us || &c == us || is_limit(c.peer->name)) continue;
      if (!best || ratio(c, *us) < ratio(*best, *us)) best = &c;
    }
    for (const Contender& c : contenders) {
      const double median = c.median(), rate = work.flops / median;
      const bool counts = work.flops > 0 && !is_limit(c.peer->name);
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
      if (is_limit(c.peer->name)) {
        line.key("err").null();
      } else {
        line.key("err").value(round(c.err));
      }
      if (&c == us && calls) {
        line.key("calls").value(calls->ours.size());
        line.key("call_p50_s").value(round(Calls::p50(calls->ours)));
        line.key("call_p99_s").value(round(Calls::p99(calls->ours)));
        line.key("loop_p50_s").value(round(Calls::p50(calls->loop)));
        line.key("loop_p99_s").value(round(Calls::p99(calls->loop)));
      }
      line.end_object();
      std::fprintf(out_, "%s\n", line.text().c_str());
    }
    std::fflush(out_);
    print(work, contenders, us, best, peak);
    if (calls) print(*calls);
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
      if (work.flops > 0 && !is_limit(c.peer->name)) {
        std::fprintf(stderr, " %7.1f GFLOP/s %3.0f %%", work.flops / median / 1e9, 100 * work.flops / median / peak);
      }
      if (us && &c != us) {
        std::fprintf(stderr, " %6.2fx (best times %.2fx)", ratio(c, *us), c.best() / us->best());
      }
      if (!is_limit(c.peer->name)) std::fprintf(stderr, "  err %.1e", c.err);
      std::fprintf(stderr, "\n");
    }
    if (us && !(us->err <= tolerance(work.dtype))) {
      std::fprintf(stderr, "  our result differs from the others'\n");
      agreed_ = false;
    }
  }

  static void print(const Calls& calls) {
    const auto times = [](const char* whose, const std::vector<double>& of) {
      const double p50 = Calls::p50(of), p99 = Calls::p99(of);
      std::fprintf(stderr, " %s p50 %.3f ms, p99 %.3f ms (%.2f)", whose, p50 * 1e3, p99 * 1e3, p99 / p50);
    };
    std::fprintf(stderr, "  each of %zu calls:", calls.ours.size());
    times("ours", calls.ours);
    std::fprintf(stderr, ";");
    times("a loop", calls.loop);
    std::fprintf(stderr, "%s\n", calls.steady() ? "" : ": too restless to judge");
  }

  // Four digits tell all there is.
  static double round(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return std::strtod(text, nullptr);
  }

  Options options_;
  std::map<std::pair<Dtype, int>, double> peaks_;  // by dtype and threads
  std::vector<Peer> peers_;
  std::FILE* out_;
  std::string processor_;
  bool agreed_ = true;
  long left_, measured_ = 0, rounds_ = 0;
  double begin_ = seconds(Clock::wall);
};

// How many of a work's (dtype, threads) the expression finds, by "work/dtype/threads".
long matches(const OwnedWork& work, const Options& options, const std::regex& wanted) {
  long found = 0;
  for (const Dtype dtype : work.dtypes()) {
    for (const int threads : options.threads) {
      const std::string full = work.work().name + "/" + name_of(dtype) + "/" + std::to_string(threads);
      if (std::regex_search(full, wanted)) ++found;
    }
  }
  return found;
}

// The works that the expression finds in the default set; else the work of that very name.
std::vector<OwnedWork> wanted_works(const Options& options, std::regex& wanted) {
  std::vector<OwnedWork> works;
  if (auto named = OwnedWork::parse(options.regex)) {
    wanted = std::regex("^" + options.regex + "/");
    works.push_back(std::move(*named));
    return works;
  }
  for (const std::string& name : default_works()) {
    auto work = OwnedWork::parse(name);
    if (work && matches(*work, options, wanted) > 0) works.push_back(std::move(*work));
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
  long measurements = 0;
  for (const OwnedWork& work : works) measurements += matches(work, options, wanted);
  Session session(options, std::move(peers), out, measurements);
  for (OwnedWork& work : works) {
    session.measure(work, wanted);
    work.drop_inputs();
  }
  if (out != stdout) std::fclose(out);
  const bool in_time = session.in_time();
  return !session.agreed() ? 1 : in_time ? 0 : 4;
}

}  // namespace
}  // namespace peers

int main(int argc, char** argv) {
  try {
    return peers::run(argc, argv);
  } catch (const peers::UsageError& error) {
    std::fprintf(stderr, "peers: %s\n%s", error.what(), peers::usage);
    return 2;
  } catch (const std::regex_error& error) {
    std::fprintf(stderr, "peers: not a regular expression: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "peers: %s\n", error.what());
    return 1;
  }
}
