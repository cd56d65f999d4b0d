// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/file_descriptor.hpp"  // moved there; for files that still include it by this name
