#include "tensor/error.h"

#include <cstdarg>
#include <cstdio>

namespace retnet {

OutOfMemory::OutOfMemory(const char* format, ...) {
  std::va_list values;
  va_start(values, format);
  std::vsnprintf(text_, sizeof text_, format, values);
  va_end(values);
}

MemorySize::MemorySize(std::int64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 6) value /= 1024, ++unit;
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

}  // namespace retnet
