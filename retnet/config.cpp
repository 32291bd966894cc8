#include "retnet/config.h"

#include "tensor/text.h"

namespace retnet {
std::int64_t Config::parameters() const {
  const std::int64_t affine = block_norm == NormKind::layer ? 2 : 1,
                     head_weights = head_norm == NormKind::layer ? 2 : 1;
  const std::int64_t head_width = head_affine == HeadAffine::none     ? 0
                                  : head_affine == HeadAffine::shared ? dv()
                                                                      : value_width;
  const std::int64_t values = gate == Activation::none ? 2 : 3;  // W_V, W_O and perhaps W_G
  const std::int64_t block = 2 * d_model * key_width + values * d_model * value_width +
                             head_weights * head_width + (ffn == FfnKind::glu ? 3 : 2) * d_model * ffn_width +
                             2 * affine * d_model;
  return layers * block + (tie_head ? 1 : 2) * vocab * d_model + affine * d_model;
}

void Config::validate() const {
  const auto check = [](bool ok, const auto&... parts) { require(ok, "config", parts...); };
  for_each_field(*this, [&](const char* key, const auto& field, const char*) {
    if constexpr (std::is_same_v<std::decay_t<decltype(field)>, std::int64_t>)
      // The upper bound keeps products of three sizes within 64 bits.
      check(field >= 1 && field <= (1 << 20), key, " must be in 1 .. 1048576, got ", field);
  });
  check(layers <= 4096, "layers must be at most 4096, got ", layers);
  check(key_width % heads == 0, "heads must divide key_width, got ", heads, " heads and key_width ",
        key_width);
  check(value_width % heads == 0, "heads must divide value_width, got ", heads, " heads and value_width ",
        value_width);
  check(rotation == Rotation::none || dk() % 2 == 0,
        "key_width / heads must be even, because rotation turns pairs, got ", key_width, " / ", heads, " = ",
        dk());
  check(gammas.empty() || static_cast<std::int64_t>(gammas.size()) == heads,
        "gammas must have one decay per head, got ", gammas.size(), " for ", heads, " heads");
  for (const double gamma_h : gammas)
    check(gamma_h > 0 && gamma_h <= 1, "gammas must be in (0, 1], got ", gamma_h);
  check(!gammas.empty() || gamma != GammaRule::arange || heads <= 48,
        "with gamma arange at most 48 heads have different decays in f64, got ", heads,
        "; use log_linspace or gammas");
  for (const double eps : {head_norm_eps, block_norm_eps})
    check(eps >= 0 && eps < 1, "the epsilon of a norm must be in [0, 1), got ", eps);
  check(embed_scale > 0 && embed_scale < 1e6, "embed_scale must be in (0, 1e6), got ", embed_scale);
}

std::vector<std::string> preset_names() { return {"tiny", "small", "base"}; }

Config preset(const std::string& name) {
  Config c;  // the defaults are tiny's
  if (name == "tiny") return c;
  if (name == "small") {
    c.d_model = c.key_width = 256, c.value_width = c.ffn_width = 512, c.layers = 6;
    return c;
  }
  if (name == "base") {
    c.d_model = c.key_width = 384, c.value_width = c.ffn_width = 768, c.layers = 6, c.heads = 6;
    return c;
  }
  fail("preset", "required ", joined(preset_names()), ", got ", quote(name),
       did_you_mean(name, preset_names()));
}

Json to_json(const Config& config) { return fields_to_json(config); }

Config config_from_json(const Json& json, const std::string& source) {
  Config config;
  fields_from_json(config, json, source);
  config.validate();
  return config;
}

}  // namespace retnet
