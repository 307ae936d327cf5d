// Ours, and what it can't do without.
#include "bench/peers/peer_aulos.hpp"

#include <string>
#include <vector>

#include "aulos/core/config.hpp"

PEERS_EXPORT void register_peers(std::vector<peers::Peer>& list) {
  const std::string version = std::to_string(AULOS_VERSION_MAJOR) + "." + std::to_string(AULOS_VERSION_MINOR) + "." +
                              std::to_string(AULOS_VERSION_PATCH);
  list.push_back({"aulos", version, [](const peers::Work& work) {
                    auto job = peers::prepare_aulos_kernel(work);
                    return job ? std::move(job) : peers::prepare_aulos_model(work);
                  }});
  list.push_back({"copy", version, peers::prepare_copy});
  list.push_back({"read", version, peers::prepare_read});
  list.push_back({"exp", version, peers::prepare_exp});
}
