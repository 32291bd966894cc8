/// @file
/// The ways to compute retention that commands go through one by one.
#pragma once

#include "retnet/multi_scale_retention.h"

namespace retnet {

/// A form, and how it runs.
struct Way {
  const char* name;
  Form form;
  bool reference;

  FormOptions options() const { return {form, 0, reference}; }
};

/// Each form, and the chunkwise one a second time, composed of small operations instead of fused into one.
inline constexpr Way kWays[] = {{"parallel", Form::parallel, false},
                                {"recurrent", Form::recurrent, false},
                                {"chunkwise", Form::chunkwise, false},
                                {"composed", Form::chunkwise, true}};

}  // namespace retnet
