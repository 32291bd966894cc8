#include "train/foreign_words.h"

#include <algorithm>
#include <filesystem>

#include "retnet/fields.h"
#include "tensor/text.h"

namespace retnet {
namespace {

/// Words of other programs, with spaces between them, and ours: the first that the command has.
struct Words {
  const char* theirs;
  std::vector<std::string> ours;
  const char* note = "";  ///< what follows ours in the hint
};

const std::vector<Words>& flags() {
  static const std::vector<Words> list{
      {"lr max-lr base-lr", {"--learning-rate"}},
      {"min-lr end-lr lr-end", {"--final-lr"}},
      {"lr-schedule lr-scheduler lr-scheduler-type scheduler lr-decay", {"--decay"}},
      {"max-steps num-steps n-steps total-steps train-steps max-train-steps", {"--steps"}},
      {"max-iters iters iter n-iters num-iters iterations n-iter", {"--steps"}},
      {"epochs epoch num-epochs n-epochs max-epochs num-train-epochs",
       {"--steps"},
       ", of one batch each: there are no epochs"},
      {"batch-size bs b train-batch-size per-device-train-batch-size", {"--batch"}},
      {"micro-batch-size", {"--micro-batch"}},
      {"gradient-accumulation-steps grad-accum grad-accumulation accumulate-grad-batches", {"--accumulate"}},
      {"block-size seq-len seq-length sequence-length context context-length ctx-len n-ctx max-seq-len "
       "max-length",
       {"--window", "--tokens", "--length"}},
      {"n-layer n-layers num-layers layer num-hidden-layers depth", {"--layers"}},
      {"n-head n-heads num-heads head num-attention-heads", {"--heads"}},
      {"n-embd n-embed hidden-size hidden-dim embed-dim embedding-dim dim emb-dim model-dim", {"--d-model"}},
      {"ffn-dim ffn-size intermediate-size d-ff mlp-dim ffn-embed-dim", {"--ffn-width"}},
      {"qk-dim d-key", {"--key-width"}},
      {"v-dim d-value value-embed-dim", {"--value-width"}},
      {"vocab-size", {"--vocab"}},
      {"chunk-size recurrent-chunk-size", {"--chunk"}},
      {"warmup-steps warmup-iters num-warmup-steps warmup-updates", {"--warmup"}},
      {"wd", {"--weight-decay"}},
      {"grad-clip clip-norm clip-grad max-grad-norm gradient-clip-val gradient-clipping", {"--clip"}},
      {"adam-beta1 b1", {"--beta1"}},
      {"adam-beta2 b2", {"--beta2"}},
      {"gradient-checkpointing checkpoint-activations", {"--recompute"}},
      {"eval-interval eval-steps val-interval eval-freq", {"--eval-every"}},
      {"eval-iters eval-batches", {"--eval-windows"}},
      {"save-interval save-steps checkpoint-interval checkpoint-every save-freq", {"--save-every"}},
      {"val-split val-fraction validation-split test-size val-ratio", {"--held-out"}},
      {"file input input-file train-file train-data dataset data-path data-dir text corpus",
       {"--data", "--prompt-file"}},
      {"output output-dir out-dir save-dir log-dir o", {"--out"}},
      {"resume-from resume-from-checkpoint continue restore", {"--resume"}},
      {"checkpoint checkpoint-path ckpt ckpt-path load load-dir model-path model-dir m",
       {"--model", "--init-from", "--resume"}},
      {"gpu cuda gpus use-cuda", {"--device"}, " hip"},
      {"num-threads n-threads num-workers workers jobs cpus j t", {"--threads"}},
      {"random-seed rng-seed", {"--seed"}},
      {"max-new-tokens max-tokens num-tokens n-tokens n-predict new-tokens n", {"--tokens"}},
      {"temp", {"--temperature"}},
      {"start p", {"--prompt"}},
      {"silent q", {"--quiet"}},
  };
  return list;
}

const std::vector<Words>& program_commands() {
  static const std::vector<Words> list{
      {"sample inference infer predict complete completion write chat run", {"generate"}},
      {"test evaluate evaluation validate valid val perplexity ppl score", {"eval"}},
      {"fit learn finetune fine-tune pretrain resume", {"train"}},
      {"benchmark perf speed profile", {"bench"}},
      {"inspect show describe summary ls params dump stat", {"info"}},
      {"grad-check check-gradients", {"gradcheck"}},
      {"compare equivalence", {"forms"}},
  };
  return list;
}

/// "max-iters" for "--max_iters", "--Max-Iters" and "-max-iters".
std::string plain(const std::string& word) {
  std::string text = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  for (char& c : text) {
    if (c == '_') c = '-';
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

/// A hint with our name for a word of theirs: the first that is `known`. "" where there is none.
template <class Known>
std::string translated(const std::vector<Words>& list, const std::string& word, const Known& known) {
  const auto is_one_of = [&](const std::string& theirs) {
    for (std::size_t begin = 0, end; begin < theirs.size(); begin = end + 1) {
      end = std::min(theirs.find(' ', begin), theirs.size());
      if (theirs.compare(begin, end - begin, word) == 0) return true;
    }
    return false;
  };
  for (const Words& words : list)
    if (is_one_of(words.theirs))
      for (const std::string& name : words.ours)
        if (known(name)) return std::string("; did you mean ").append(name).append(words.note).append("?");
  return "";
}

bool has(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

std::string flag_hint(const std::string& flag, const std::vector<std::string>& ours) {
  return translated(flags(), plain(flag), [&](const std::string& name) { return has(ours, name); });
}

std::string nearest_flag(const std::string& flag, const std::vector<std::string>& ours) {
  // With their dashes, which all flags have, short ones would be near to each other.
  std::vector<std::string> words;
  for (const std::string& name : ours) words.push_back(plain(name));
  const std::string nearest = nearest_name(plain(flag), words);
  return nearest.empty() ? "" : "--" + nearest;
}

std::string command_hint(const std::string& command) {
  return translated(program_commands(), plain(command), [](const std::string&) { return true; });
}

std::string device_hint(const std::string& device) {
  const std::string word = plain(device.substr(0, device.find(':')));
  for (const char* gpu : {"gpu", "cuda", "nvidia", "amd", "rocm"})
    if (word == gpu) return "; a GPU, of NVIDIA too, is called hip";
  for (const char* other : {"mps", "metal", "tpu", "xpu", "xla", "vulkan", "opencl"})
    if (word == other) return "; there is no support for this one, use cpu";
  return "";
}

std::string bare_hint(const std::string& argument, const std::vector<std::string>& ours) {
  std::error_code ignored;
  std::vector<const char*> flags{"--prompt", "--data", "--model"};
  if (std::filesystem::is_directory(argument, ignored))
    flags = {"--model", "--out"};
  else if (std::filesystem::exists(argument, ignored))
    flags = {"--data", "--prompt-file"};
  for (const char* flag : flags)
    if (has(ours, flag)) return "; did you mean " + std::string(flag) + " " + printable(argument) + "?";
  return "";
}

}  // namespace retnet
