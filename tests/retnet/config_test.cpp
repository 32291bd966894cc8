// Configs: presets, files, and every way to get one wrong.

#include <filesystem>

#include "retnet/model.h"
#include "tensor/file.h"
#include "tensor/safetensors.h"
#include "tests/support/close.h"
#include "tests/support/small_models.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/test.h"

namespace retnet::test {
namespace {

/// The message with which validate() refuses a config changed by `change`, "no error" when it does not.
template <class Change>
std::string refusal(Change&& change) {
  Config c;
  change(c);
  return error_message([&] { c.validate(); });
}

}  // namespace

TEST_CASE("Presets have the sizes the README states", "[config]") {
  CHECK(preset("tiny").parameters() == 856320);
  CHECK(preset("small").parameters() == 4862464);
  CHECK(preset("base").parameters() == 10832640);
  for (const std::string& name : preset_names()) preset(name).validate();
  CHECK(error_message([] { preset("tinny"); }) ==
        "preset: required tiny, small or base, got \"tinny\"; did you mean tiny?");
}

TEST_CASE("A config survives being written and read", "[config]") {
  for (unsigned number = 0; number < 40; ++number) {
    const Config c = random_choices(number);
    const Json json = Json::parse(to_json(c).dump(2), "test");
    CHECK(to_json(config_from_json(json, "test")) == to_json(c));
  }
}

TEST_CASE("validate() names the field and the rule", "[config][errors]") {
  CHECK(refusal([](Config&) {}) == "no error");
  CHECK(refusal([](Config& c) { c.heads = 3; }) ==
        "config: heads must divide key_width, got 3 heads and key_width 128");
  CHECK(refusal([](Config& c) { c.value_width = 255; }) ==
        "config: heads must divide value_width, got 4 heads and value_width 255");
  CHECK(refusal([](Config& c) { c.key_width = 4; }) ==
        "config: key_width / heads must be even, because rotation turns pairs, got 4 / 4 = 1");
  CHECK(refusal([](Config& c) { c.key_width = 4, c.rotation = Rotation::none; }) == "no error");
  for (const std::int64_t bad : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1} << 40})
    CHECK(refusal([&](Config& c) { c.layers = bad; }) ==
          "config: layers must be in 1 .. 1048576, got " + std::to_string(bad));
  CHECK(refusal([](Config& c) { c.gammas = {0.5}; }) ==
        "config: gammas must have one decay per head, got 1 for 4 heads");
  CHECK(refusal([](Config& c) {
          c.gammas = {0.5, 1, 1, 1.5};
        }) == "config: gammas must be in (0, 1], got 1.5");
  CHECK(refusal([](Config& c) { c.head_norm_eps = -1; }) ==
        "config: the epsilon of a norm must be in [0, 1), got -1");
  CHECK(refusal([](Config& c) { c.block_norm_eps = std::nan(""); }) ==
        "config: the epsilon of a norm must be in [0, 1), got nan");
  CHECK(refusal([](Config& c) { c.heads = c.key_width = c.value_width = 64, c.rotation = Rotation::none; }) ==
        "config: with gamma arange at most 48 heads have different decays in f64, got 64; use log_linspace "
        "or gammas");
}

TEST_CASE("every number of a config is accepted up to its limits and refused beyond", "[config][errors]") {
  const auto refused = [](const char* key, double value) {
    return refusal([&](Config& c) {
             c.heads = 1, c.rotation = Rotation::none;  // so that no width has to fit another one
             for_each_field(c, [&](const char* name, auto& field, const char*) {
               if constexpr (std::is_arithmetic_v<std::decay_t<decltype(field)>>)
                 if (std::string(name) == key) field = static_cast<std::decay_t<decltype(field)>>(value);
             });
           }) != "no error";
  };
  for (const char* key : {"vocab", "d_model", "layers", "key_width", "value_width", "ffn_width", "chunk"}) {
    CAPTURE(key);
    const double most = key == std::string("layers") ? 4096 : 1048576;
    CHECK(refused(key, 0));
    CHECK_FALSE(refused(key, 1));
    CHECK_FALSE(refused(key, most));
    CHECK(refused(key, most + 1));
  }
  for (const char* key : {"head_norm_eps", "block_norm_eps"}) {
    CHECK_FALSE(refused(key, 0));
    CHECK_FALSE(refused(key, 0.999));
    CHECK(refused(key, 1));
    CHECK(refused(key, -1e-9));
  }
  CHECK(refused("embed_scale", 0));
  CHECK_FALSE(refused("embed_scale", 1e-9));
  CHECK_FALSE(refused("embed_scale", 999999));
  CHECK(refused("embed_scale", 1e6));
  for (const auto& [gamma, ok] : {std::pair(0.0, false), {1e-9, true}, {1.0, true}, {1.0001, false}})
    CHECK((refusal([&](Config& c) { c.gammas = {0.5, 0.5, 0.5, gamma}; }) == "no error") == ok);
  const auto heads = [](GammaRule rule, std::int64_t count) {
    return refusal([&](Config& c) {
      c.gamma = rule, c.heads = c.key_width = c.value_width = count, c.rotation = Rotation::none;
    });
  };
  CHECK(heads(GammaRule::arange, 48) == "no error");
  CHECK(heads(GammaRule::arange, 49) != "no error");
  CHECK(heads(GammaRule::log_linspace, 49) == "no error");
}

TEST_CASE("A config file with a wrong key, type or value is refused in one line", "[config][errors]") {
  const auto read = [](const char* text) {
    return error_message([&] { config_from_json(Json::parse(text, "c.json"), "c.json"); });
  };
  CHECK(read(R"({"layres": 2})") == "c.json: unknown field \"layres\"; did you mean layers?");
  CHECK(read(R"({"layers": 2.0})").find("c.json: layers: required an integer") == 0);
  CHECK(read(R"({"rotation": "linespace"})") ==
        "c.json: rotation: required linspace, rope or none, got \"linespace\"; did you mean linspace?");
  CHECK(read(R"({"tie_head": 1})").find("c.json: tie_head: required") == 0);
  CHECK(read(R"([])").find("c.json: required an object") == 0);
  CHECK(read(R"({"layers": 2})") == "no error");
}

TEST_CASE("A model survives being saved and loaded, bit for bit", "[model]") {
  const TemporaryFolder folder;
  for (unsigned number = 0; number < 8; ++number) {
    RetNet model = random_model(random_choices(number), number + 1, number % 2 ? Dtype::f32 : Dtype::f64);
    save_model(folder.path(), model);
    RetNet loaded = load_model(folder.path());
    CHECK(loaded.dtype() == model.dtype());
    const auto a = model.parameters(), b = loaded.parameters();
    REQUIRE(a.size() == b.size());
    for (std::size_t i = 0; i < a.size(); ++i)
      CHECK(bit_difference(a[i].variable.value(), b[i].variable.value()) == "");
    const Tensor tokens = random_ids({1, 5}, 11, 1);
    CHECK(bit_difference(loaded.forward(tokens).value(), model.forward(tokens).value()) == "");
  }
}

TEST_CASE("Weights that contradict the config are refused, naming the tensor", "[model][errors]") {
  const TemporaryFolder folder;
  RetNet model = random_model(small_config(), 1, Dtype::f32);
  const std::string path = folder.path() + "/model.safetensors";
  const auto load_with = [&](auto&& change) {
    std::vector<NamedTensor> tensors;
    for (const Parameter& p : model.parameters()) tensors.push_back({p.name, p.variable.value()});
    change(tensors);
    save_model(folder.path(), model);
    save_safetensors(path, tensors);
    return error_message([&] { load_model(folder.path()); });
  };
  CHECK(load_with([](auto&) {}) == "no error");
  CHECK(load_with([](auto& t) { t.pop_back(); }) ==
        path + ": the tensor head.weight is missing; config.json asks for it");
  CHECK(load_with([](auto& t) {
          t.push_back({"extra", Tensor::zeros({1})});
        }) == path + ": the tensor \"extra\" is not part of the model that config.json describes");
  CHECK(load_with([](auto& t) { t[1].value = Tensor::zeros({3}); }) ==
        path + ": layers.0.norm1.weight is [3], but config.json asks for [10]");
  CHECK(load_with([](auto& t) { t[1].value = astype(t[1].value, Dtype::f64); }) ==
        path +
            ": the tensor \"layers.0.norm1.weight\" is F64 and \"embed.weight\" is F32, but all weights of a "
            "model have one dtype; convert them to F32");
  // What the hint of one refusal asks for must not be refused in turn.
  const auto all = [](Dtype dtype) {
    return [dtype](auto& tensors) {
      for (NamedTensor& tensor : tensors) tensor.value = astype(tensor.value, dtype);
    };
  };
  const std::string asked = ", but a model's weights are F32 or F64; convert them to F32";
  CHECK(load_with(all(Dtype::bf16)) == path + ": the tensor \"embed.weight\" is BF16" + asked);
  std::string bytes = read_file(path);
  for (std::size_t at; (at = bytes.find("\"BF16\"")) != bytes.npos;) bytes.replace(at, 6, " \"F16\"");
  write_file_atomic(path, bytes);
  CHECK(error_message([&] { load_model(folder.path()); }) ==
        path + ": the tensor \"embed.weight\" is F16" + asked);
  CHECK(load_with(all(Dtype::f32)) == "no error");
  CHECK(load_with(all(Dtype::f64)) == "no error");
  CHECK(load_with([](auto& t) { t[1].value = Tensor::full({10}, std::nan("")); }) ==
        path + ": layers.0.norm1.weight holds a number that is not finite");
  write_file_atomic(folder.path() + "/config.json", "{\"layers\": 3");
  CHECK(error_message([&] { load_model(folder.path()); }).find(folder.path() + "/config.json: ") == 0);
}

}  // namespace retnet::test
