// SPDX-License-Identifier: Apache-2.0
#include "ops/gelu.hpp"

#include "ops/reference/gelu_value.hpp"
#include "ops/reference/reference.hpp"
#include "ops/reference/values.hpp"

namespace penstock::reference {

void gelu(const ops::Gelu& arguments) {
  Values values = read(arguments.pre_activation);
  for (double& value : values) value = gelu(value);
  write(arguments.y, values);
}

}  // namespace penstock::reference
