#include "train/presets.h"

#include "retnet/config.h"

namespace retnet {

TrainSettings preset_settings(const std::string& name) {
  preset(name);     // refuses unknown names
  TrainSettings s;  // the defaults are tiny's
  if (name == "small") {
    s.window = 512, s.batch = 8, s.micro_batch = 4;
    s.steps = 2000, s.warmup = 100, s.learning_rate = 2e-3;
  }
  if (name == "base") {
    s.window = 512, s.batch = 8, s.micro_batch = 2;
    s.steps = 5000, s.warmup = 200, s.learning_rate = 1e-3;
    s.dropout = 0.1;  // a model of this size learns a text of a megabyte by heart
  }
  return s;
}

}  // namespace retnet
