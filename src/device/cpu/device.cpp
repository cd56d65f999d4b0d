#include "device/device.hpp"

namespace penstock {

void open_device(const DeviceChoice&) {}

std::string device_text() { return "CPU"; }

}  // namespace penstock
