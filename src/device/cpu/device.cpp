#include "device/device.hpp"

namespace penstock {

std::vector<std::string> visible_devices() { return {}; }

void open_device(const DeviceChoice&) {}

std::string device_text() { return "CPU"; }

}  // namespace penstock
