// Checkpoints of full size for the tests of `inspect`, and a watch over what a program reads.
//
//     inspect_files FOLDER              writes them: true headers, and data that takes no room (sparse)
//     inspect_files --watch PROGRAM...  runs a program and fails if it read or held more than a header takes
//
// Names and shapes are written down here from the published models, not taken from the library.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using Extents = std::vector<std::int64_t>;

struct Tensor {
  std::string name, dtype;
  Extents shape;

  std::int64_t bytes() const {
    std::int64_t n = dtype == "F32" ? 4 : 2;
    for (const std::int64_t extent : shape) n *= extent;
    return n;
  }
};

class Tensors {
 public:
  Tensors(std::string dtype, std::string prefix = "") : dtype_(std::move(dtype)), prefix_(std::move(prefix)) {}

  void add(const std::string& name, const Extents& shape) { list_.push_back({prefix_ + name, dtype_, shape}); }
  void linear(const std::string& name, std::int64_t in, std::int64_t out) { weight_and_bias(name, {out, in}); }
  void norm(const std::string& name, std::int64_t width) { weight_and_bias(name, {width}); }
  void weight_and_bias(const std::string& name, const Extents& shape) {
    add(name + ".weight", shape);
    add(name + ".bias", {shape[0]});
  }
  void use(std::string dtype, std::string prefix) {
    dtype_ = std::move(dtype);
    prefix_ = std::move(prefix);
  }

  Tensor& find(const std::string& name) {
    for (Tensor& tensor : list_)
      if (tensor.name == name) return tensor;
    std::fprintf(stderr, "no tensor %s\n", name.c_str());
    std::exit(1);
  }
  std::vector<Tensor>& list() { return list_; }

 private:
  std::string dtype_, prefix_;
  std::vector<Tensor> list_;
};

std::string indexed(const char* before, int i, const char* after) { return before + std::to_string(i) + after; }

// FLUX.1 dev as published in one file.
Tensors flux() {
  Tensors t("BF16");
  const std::int64_t width = 3072, head = 128, hidden = 4 * width;
  t.linear("img_in", 64, width);
  t.linear("txt_in", 4096, width);
  for (const char* name : {"time_in", "guidance_in", "vector_in"}) {
    t.linear(std::string(name) + ".in_layer", name[0] == 'v' ? 768 : 256, width);
    t.linear(std::string(name) + ".out_layer", width, width);
  }
  for (int i = 0; i < 19; ++i) {
    for (const char* stream : {"img", "txt"}) {
      const std::string of = indexed("double_blocks.", i, ".") + stream;
      t.linear(of + "_mod.lin", width, 6 * width);
      t.linear(of + "_attn.qkv", width, 3 * width);
      t.add(of + "_attn.norm.query_norm.scale", {head});
      t.add(of + "_attn.norm.key_norm.scale", {head});
      t.linear(of + "_attn.proj", width, width);
      t.linear(of + "_mlp.0", width, hidden);
      t.linear(of + "_mlp.2", hidden, width);
    }
  }
  for (int i = 0; i < 38; ++i) {
    const std::string of = indexed("single_blocks.", i, ".");
    t.linear(of + "modulation.lin", width, 3 * width);
    t.linear(of + "linear1", width, 3 * width + hidden);
    t.linear(of + "linear2", width + hidden, width);
    t.add(of + "norm.query_norm.scale", {head});
    t.add(of + "norm.key_norm.scale", {head});
  }
  t.linear("final_layer.linear", width, 64);
  t.linear("final_layer.adaLN_modulation.1", width, 2 * width);
  return t;
}

// FLUX.1 schnell with diffusers' names.
Tensors flux_diffusers() {
  Tensors t("BF16");
  const std::int64_t width = 3072, head = 128, hidden = 4 * width;
  t.linear("x_embedder", 64, width);
  t.linear("context_embedder", 4096, width);
  t.linear("time_text_embed.timestep_embedder.linear_1", 256, width);
  t.linear("time_text_embed.timestep_embedder.linear_2", width, width);
  t.linear("time_text_embed.text_embedder.linear_1", 768, width);
  t.linear("time_text_embed.text_embedder.linear_2", width, width);
  for (int i = 0; i < 19; ++i) {
    const std::string of = indexed("transformer_blocks.", i, ".");
    for (const char* norm : {"norm1.linear", "norm1_context.linear"}) t.linear(of + norm, width, 6 * width);
    for (const char* part :
         {"to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"})
      t.linear(of + "attn." + part, width, width);
    for (const char* norm : {"norm_q", "norm_k", "norm_added_q", "norm_added_k"})
      t.add(of + "attn." + norm + ".weight", {head});
    for (const char* ff : {"ff", "ff_context"}) {
      t.linear(of + ff + ".net.0.proj", width, hidden);
      t.linear(of + ff + ".net.2", hidden, width);
    }
  }
  for (int i = 0; i < 38; ++i) {
    const std::string of = indexed("single_transformer_blocks.", i, ".");
    t.linear(of + "norm.linear", width, 3 * width);
    for (const char* part : {"to_q", "to_k", "to_v"}) t.linear(of + "attn." + part, width, width);
    for (const char* norm : {"norm_q", "norm_k"}) t.add(of + "attn." + norm + ".weight", {head});
    t.linear(of + "proj_mlp", width, hidden);
    t.linear(of + "proj_out", width + hidden, width);
  }
  t.linear("norm_out.linear", width, 2 * width);
  t.linear("proj_out", width, 64);
  return t;
}

// SD3 medium with its autoencoder, as published in one file; a few tensors stand for those of the autoencoder.
Tensors sd3() {
  Tensors t("F16", "model.diffusion_model.");
  const std::int64_t width = 1536, hidden = 4 * width;
  t.add("pos_embed", {1, 192 * 192, width});
  t.weight_and_bias("x_embedder.proj", {width, 16, 2, 2});
  t.linear("context_embedder", 4096, width);
  t.linear("t_embedder.mlp.0", 256, width);
  t.linear("t_embedder.mlp.2", width, width);
  t.linear("y_embedder.mlp.0", 2048, width);
  t.linear("y_embedder.mlp.2", width, width);
  for (int i = 0; i < 24; ++i) {
    for (const char* stream : {"x", "context"}) {
      const std::string of = indexed("joint_blocks.", i, ".") + stream + "_block.";
      const bool reads_only = i == 23 && stream[0] == 'c';
      t.linear(of + "adaLN_modulation.1", width, (reads_only ? 2 : 6) * width);
      t.linear(of + "attn.qkv", width, 3 * width);
      if (reads_only) continue;
      t.linear(of + "attn.proj", width, width);
      t.linear(of + "mlp.fc1", width, hidden);
      t.linear(of + "mlp.fc2", hidden, width);
    }
  }
  t.linear("final_layer.linear", width, 64);
  t.linear("final_layer.adaLN_modulation.1", width, 2 * width);
  t.use("F32", "first_stage_model.");
  t.weight_and_bias("decoder.conv_in", {512, 16, 3, 3});
  t.weight_and_bias("decoder.conv_out", {3, 128, 3, 3});
  return t;
}

// DiT-XL/2 for 256 x 256 pixels.
Tensors dit() {
  Tensors t("F32");
  const std::int64_t width = 1152;
  t.add("pos_embed", {1, 256, width});
  t.weight_and_bias("x_embedder.proj", {width, 4, 2, 2});
  t.linear("t_embedder.mlp.0", 256, width);
  t.linear("t_embedder.mlp.2", width, width);
  t.add("y_embedder.embedding_table.weight", {1001, width});
  for (int i = 0; i < 28; ++i) {
    const std::string of = indexed("blocks.", i, ".");
    t.linear(of + "attn.qkv", width, 3 * width);
    t.linear(of + "attn.proj", width, width);
    t.linear(of + "mlp.fc1", width, 4 * width);
    t.linear(of + "mlp.fc2", 4 * width, width);
    t.linear(of + "adaLN_modulation.1", width, 6 * width);
  }
  t.linear("final_layer.linear", width, 32);
  t.linear("final_layer.adaLN_modulation.1", width, 2 * width);
  return t;
}

// timm's ViT with patches of 16 for 1000 classes; by default ViT-B/16.
Tensors vit(std::int64_t width = 768) {
  Tensors t("F32");
  t.add("cls_token", {1, 1, width});
  t.add("pos_embed", {1, 197, width});
  t.weight_and_bias("patch_embed.proj", {width, 3, 16, 16});
  for (int i = 0; i < 12; ++i) {
    const std::string of = indexed("blocks.", i, ".");
    t.norm(of + "norm1", width);
    t.linear(of + "attn.qkv", width, 3 * width);
    t.linear(of + "attn.proj", width, width);
    t.norm(of + "norm2", width);
    t.linear(of + "mlp.fc1", width, 4 * width);
    t.linear(of + "mlp.fc2", 4 * width, width);
  }
  t.norm("norm", width);
  t.linear("head", width, 1000);
  return t;
}

// What the mask networks of SepFormer and DPRNN share.
void mask_network(Tensors& t, const std::string& of, std::int64_t speakers) {
  const std::int64_t width = 256;
  t.norm(of + "norm", width);
  t.add(of + "conv1d.weight", {width, width, 1});
  t.weight_and_bias(of + "conv2d", {speakers * width, width, 1, 1});
  t.weight_and_bias(of + "output.0", {width, width, 1});
  t.weight_and_bias(of + "output_gate.0", {width, width, 1});
  t.add(of + "end_conv1x1.weight", {width, width, 1});
  t.add(of + "prelu.weight", {1});
}

// SepFormer for two speakers.
Tensors sepformer() {
  Tensors t("F32");
  const std::int64_t width = 256, hidden = 1024;
  t.add("encoder.conv1d.weight", {width, 1, 16});
  t.add("decoder.weight", {width, 1, 16});
  mask_network(t, "masknet.", 2);
  for (int i = 0; i < 2; ++i) {
    for (const char* path : {"intra", "inter"}) {
      const std::string of = indexed("masknet.dual_mdl.", i, ".") + path;
      t.norm(of + "_norm", width);
      t.norm(of + "_mdl.mdl.norm.norm", width);
      for (int layer = 0; layer < 8; ++layer) {
        const std::string in = of + indexed("_mdl.mdl.layers.", layer, ".");
        t.norm(in + "norm1.norm", width);
        t.norm(in + "norm2.norm", width);
        t.add(in + "self_att.att.in_proj_weight", {3 * width, width});
        t.add(in + "self_att.att.in_proj_bias", {3 * width});
        t.linear(in + "self_att.att.out_proj", width, width);
        t.linear(in + "pos_ffn.ffn.0", width, hidden);
        t.linear(in + "pos_ffn.ffn.3", hidden, width);
      }
    }
  }
  return t;
}

// The mask network of a DPRNN for two speakers, alone.
Tensors dprnn_mask_network() {
  Tensors t("F32");
  const std::int64_t width = 256, hidden = 256;
  mask_network(t, "", 2);
  for (int i = 0; i < 6; ++i) {
    for (const char* path : {"intra", "inter"}) {
      const std::string of = indexed("dual_mdl.", i, ".") + path;
      t.norm(of + "_norm", width);
      t.linear(of + "_linear.w", 2 * hidden, width);
      for (const char* direction : {"", "_reverse"}) {
        const std::string rnn = of + "_mdl.mdl.rnn.";
        t.add(rnn + "weight_ih_l0" + direction, {4 * hidden, width});
        t.add(rnn + "weight_hh_l0" + direction, {4 * hidden, hidden});
        t.add(rnn + "bias_ih_l0" + direction, {4 * hidden});
        t.add(rnn + "bias_hh_l0" + direction, {4 * hidden});
      }
    }
  }
  return t;
}

// The header, and a hole of the size of the data; `shortfall` bytes of it are left out.
void write(const std::string& path, const std::vector<Tensor>& tensors, std::int64_t shortfall = 0,
           const std::string& metadata = "\"format\":\"pt\"") {
  std::string header = "{\"__metadata__\":{" + metadata + "}";
  std::int64_t end = 0;
  for (const Tensor& tensor : tensors) {
    header += ",\"" + tensor.name + "\":{\"dtype\":\"" + tensor.dtype + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i)
      header += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(end) + "," + std::to_string(end + tensor.bytes()) + "]}";
    end += tensor.bytes();
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  std::string length;
  for (unsigned i = 0; i < 8; ++i) length += static_cast<char>(header.size() >> (8 * i) & 255U);
  std::ofstream file(path, std::ios::binary);
  file << length << header << std::flush;
  const auto begin = static_cast<std::int64_t>(8 + header.size());
  if (!file || ::truncate(path.c_str(), begin + end - shortfall) != 0) {
    std::perror(path.c_str());
    std::exit(1);
  }
}

void write_shards(const std::string& folder, const std::vector<Tensor>& tensors, std::size_t count) {
  std::string map;
  for (std::size_t shard = 0; shard < count; ++shard) {
    const std::string name = "part-" + std::to_string(shard + 1) + ".safetensors";
    const std::size_t from = tensors.size() * shard / count, to = tensors.size() * (shard + 1) / count;
    const std::vector<Tensor> part(tensors.begin() + static_cast<std::ptrdiff_t>(from),
                                   tensors.begin() + static_cast<std::ptrdiff_t>(to));
    for (const Tensor& tensor : part) map += (map.empty() ? "\"" : ",\"") + tensor.name + "\":\"" + name + "\"";
    write(folder + "/" + name, part);
  }
  std::ofstream(folder + "/model.safetensors.index.json") << "{\"weight_map\":{" << map << "}}";
}

void write_all(const std::string& folder) {
  write(folder + "/flux.safetensors", flux().list());
  write(folder + "/truncated.safetensors", flux().list(), 1);
  write_shards(folder + "/sharded", flux_diffusers().list(), 3);
  write(folder + "/sd3.safetensors", sd3().list());
  write(folder + "/dit.safetensors", dit().list());
  write(folder + "/vit.safetensors", vit().list());
  write(folder + "/sepformer.safetensors", sepformer().list());
  write(folder + "/masknet.safetensors", dprnn_mask_network().list());

  write(folder + "/narrow.safetensors", vit(96).list());
  write(folder + "/narrow/model.safetensors", vit(96).list());
  std::ofstream(folder + "/narrow/config.json") << "{\"embed_dim\": 96, \"num_heads\": 4}";

  write(folder + "/greedy.safetensors", vit().list(), 0, R"("config":"{\"depth\":1000000000}")");

  Tensors broken = flux();
  broken.find("double_blocks.5.img_mod.lin.weight").name = "double_blocks.5.img_modd.lin.weight";
  broken.find("double_blocks.7.txt_mlp.0.weight").shape = {3072, 12288};
  broken.find("img_in.bias").dtype = "I16";
  write(folder + "/broken.safetensors", broken.list());

  Tensors unknown("F32");
  unknown.linear("tower.0.mix", 8, 8);
  unknown.linear("tower.1.mix", 8, 8);
  unknown.linear("tower.2.mix", 8, 9);
  unknown.add("bell\\u0007", {4});
  write(folder + "/unknown.safetensors", unknown.list());
  write(folder + "/empty.safetensors", {});
  std::ofstream(folder + "/model.pth", std::ios::binary)
      << "PK\x03\x04 an archive of PyTorch's begins so, and is longer";
  std::ofstream(folder + "/lie.safetensors", std::ios::binary) << std::string("\xff\xff\xff\x7f\0\0\0\0{", 9);
}

// What a process has read so far, by the kernel's count; -1 where it can't be known.
std::int64_t bytes_read(pid_t process) {
  std::ifstream io("/proc/" + std::to_string(process) + "/io");
  std::string key;
  std::int64_t value = -1;
  return io >> key >> value && key == "rchar:" ? value : -1;
}

int watch(char** command) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execv(command[0], command);
    ::_exit(127);
  }
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // it stays until its counters are read
  const std::int64_t read = bytes_read(child);
  int status = 0;
  rusage use{};
  ::wait4(child, &status, 0, &use);
  if (read > 4'000'000) std::fprintf(stderr, "watch: %s read %lld bytes\n", command[0], static_cast<long long>(read));
  if (use.ru_maxrss > 200'000) std::fprintf(stderr, "watch: %s held %ld kB\n", command[0], use.ru_maxrss);
  if (read > 4'000'000 || use.ru_maxrss > 200'000) return 1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::string(argv[1]) == "--watch") return watch(argv + 2);
  if (argc != 2) return 2;
  write_all(argv[1]);
  return 0;
}
