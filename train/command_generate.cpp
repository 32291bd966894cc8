#include <memory>

#include "retnet/generate.h"
#include "tensor/stream.h"
#include "tensor/text.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/dataset.h"
#include "train/output.h"

namespace retnet {
namespace {

struct Given {
  std::string model, prompt, prompt_file;
  SamplingOptions sampling;
  DecoderOptions decoder;
  std::int64_t seed = 1, tokens = 400;
  Device device = Device::cpu;
};

constexpr std::int64_t kMostPrompt = std::int64_t{1} << 30;  // bytes; each takes five while it is read

void check(Given& given) {
  given.sampling.seed = static_cast<std::uint64_t>(given.seed);
  if (given.decoder.bf16_weights && given.device != Device::cpu)
    throw UsageError("--weights bf16 is for --device cpu");
  if (given.prompt.empty() == given.prompt_file.empty())
    throw UsageError("give either --prompt TEXT or --prompt-file FILE, of at least one byte");
  if (given.tokens < 0)
    throw UsageError("--tokens: required at least 0, got " + std::to_string(given.tokens));
  try {
    given.sampling.validate();
  } catch (const Error& error) {
    throw UsageError(error.what());
  }
}

int run(Given& given) {
  check(given);
  require_device(given.device);
  const std::string text =
      given.prompt_file.empty() ? given.prompt : read_input(given.prompt_file, kMostPrompt);
  require(!text.empty(), input_name(given.prompt_file).c_str(),
          "the file is empty; a prompt needs at least one byte");
  RetNet model = load_trained(given.model).model;
  require(model.config().vocab == 256, "--model", "its tokens are not bytes: the config's vocab is ",
          model.config().vocab, ", not 256");
  model.to(given.device);
  print(text);
  // Every byte goes out as it is drawn: text appears while it is written, and a reader that leaves ends the
  // work.
  const auto emit = [](std::int32_t token) {
    print(decode({token}));
    return true;
  };
  generate(model, tokens_of(text), given.tokens, given.sampling, emit, given.decoder);
  print("\n");
  return 0;
}

}  // namespace

Command generate_command() {
  const auto given = std::make_shared<Given>();
  Command command{"generate", "continues a text, byte by byte", {}, {}, {}, {}};
  command.description =
      "Reads the prompt in the chunkwise form and goes on in the recurrent form: a byte costs the same "
      "however long the text has become. The same seed gives the same text, on any number of threads.";
  command.examples = {"retnet generate --model runs/first --prompt \"Retention \"",
                      "retnet generate --model runs/first --prompt-file a.txt --top-p 0.95",
                      "retnet generate --model runs/first --prompt \"The \" --temperature 0"};
  command.add("--model", "DIR", given->model, "a run or a checkpoint").required = true;
  command.add("--prompt", "TEXT", given->prompt, "what to continue");
  command.add("--prompt-file", "FILE", given->prompt_file, "the same, from a file, or - for standard input");
  command.add("--tokens", "N", given->tokens, "bytes to write");
  command.add("--temperature", "X", given->sampling.temperature,
              "divides the logits; 0 takes the most likely byte");
  command.add("--top-k", "N", given->sampling.top_k, "draw from the N most likely bytes only; 0: from all");
  command.add("--top-p", "X", given->sampling.top_p,
              "draw from the likeliest bytes that together have this probability");
  command.add("--seed", "N", given->seed, "of the random numbers");
  Option weights{"--weights",
                 "DTYPE",
                 "f32: as trained; bf16: rounded for the bytes written, half of what each of them must read",
                 "f32",
                 {}};
  weights.set = [given](const std::string& text) {
    given->decoder.bf16_weights = choice_index("--weights", text, {"f32", "bf16"}) == 1;
  };
  command.options.push_back(weights);
  command.add_device(given->device);
  command.add_threads();
  command.run = [given] { return run(*given); };
  return command;
}

}  // namespace retnet
