#include "device/device.hpp"

#include <sys/resource.h>

#include "base/error.hpp"

namespace penstock {

std::vector<std::string> visible_devices() { return {}; }

void open_device(const DeviceChoice&) {}

std::string memory_in_use_text() {
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  return fmt::format("the process held at most {:.2f} GiB", static_cast<double>(usage.ru_maxrss) / (1 << 20));
}

std::string device_text() { return "CPU"; }

}  // namespace penstock
