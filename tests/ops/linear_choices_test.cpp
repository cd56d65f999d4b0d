// SPDX-License-Identifier: Apache-2.0
// CTest: BACKENDS cpu cuda
#include "ops/linear_choices.hpp"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <stdexcept>

#include "ops/reference/reference.hpp"
#include "support/random_tensor.hpp"

namespace penstock::linear_choices_test {
namespace {

using test::is_close;
using test::RandomTensors;
using test::TestTensor;
using test::tolerance_of;

constexpr const char* no_choices = "this backend has nothing to choose: the text is empty";

ops::LinearShape shape_of(std::int64_t rows, std::int64_t inputs, std::int64_t outputs, DType type, DType result) {
  return {.rows = rows, .inputs = inputs, .outputs = outputs, .type = type, .y = result, .dx = result};
}

/// Layers with all that can follow a product, in all types; of a few rows and of more.
std::vector<ops::LinearShape> shapes_to_try() {
  std::vector<ops::LinearShape> shapes;
  for (const std::int64_t rows : {std::int64_t{3}, std::int64_t{72}})
    for (const auto& [type, result] :
         {std::pair(DType::float32, DType::float32), std::pair(DType::bfloat16, DType::bfloat16),
          std::pair(DType::bfloat16, DType::float32)}) {
      ops::LinearShape shape = shape_of(rows, 64, 96, type, result);
      shape.bias = shape.bias_gradient = true;
      shapes.push_back(shape);
      shape.activated = shape.slope = true;
      shape.accumulate = false;
      shapes.push_back(shape);
    }
  ops::LinearShape without_bias = shape_of(72, 40, 48, DType::bfloat16, DType::bfloat16);
  without_bias.activated = without_bias.slope = true;
  shapes.push_back(without_bias);
  return shapes;
}

std::string describe(const ops::LinearShape& shape) {
  return fmt::format("N {} K {} M {}, {} to {}{}{}", shape.rows, shape.inputs, shape.outputs, name_of(shape.type),
                     name_of(shape.y), shape.bias ? ", bias" : "", shape.activated ? ", GELU" : "");
}

// As in linear_test: products of size 1, and errors measured in this unit.
constexpr double unit = 1;
double weight_size(std::int64_t inputs) { return 1 / std::sqrt(static_cast<double>(inputs)); }

/// Holds the three operations of a layer against the reference.
class LayerTrial {
 public:
  LayerTrial(RandomTensors& random, const ops::LinearShape& shape)
      : shape_(shape),
        x_(random.normal(shape.type, {shape.rows, shape.inputs})),
        weight_(random.normal(shape.type, {shape.outputs, shape.inputs}, weight_size(shape.inputs))),
        gradient_weight_(random.normal(shape.type, {shape.outputs, shape.inputs}, weight_size(shape.outputs))),
        dy_(random.normal(shape.type, {shape.rows, shape.outputs})),
        before_(random.normal(shape.dx, {shape.rows, shape.inputs})),
        dweight_(random.normal(DType::float32, {shape.outputs, shape.inputs})),
        dbias_(random.normal(DType::float32, {shape.outputs})) {
    if (shape.bias) bias_ = random.normal(DType::float32, {shape.outputs});
  }

  void compare(Queue& queue) const {
    SCOPED_TRACE(describe(shape_));
    compare_forward(queue);
    compare_input_gradient(queue, false);
    if (shape_.slope) compare_input_gradient(queue, true);
    compare_weight_gradient(queue);
  }

 private:
  void compare_forward(Queue& queue) const {
    const TestTensor y(shape_.y, {shape_.rows, shape_.outputs}), y_expected = y;
    const TestTensor u = shape_.activated ? TestTensor(shape_.y, {shape_.rows, shape_.outputs}) : TestTensor();
    const TestTensor u_expected = u;
    ops::linear(queue, {.x = x_, .weight = weight_, .bias = bias_, .y = y, .pre_activation = u});
    reference::linear({.x = x_, .weight = weight_, .bias = bias_, .y = y_expected, .pre_activation = u_expected});
    EXPECT_TRUE(is_close(y, y_expected, tolerance_of(shape_.type), unit));
    if (shape_.activated) {
      EXPECT_TRUE(is_close(u, u_expected, tolerance_of(shape_.type), unit)) << "the pre-activation";
    }
  }

  void compare_input_gradient(Queue& queue, bool in_place) const {
    SCOPED_TRACE(in_place ? "the pre-activation is dx" : "the pre-activation is not dx");
    const TestTensor own = before_;
    const TestTensor dx = in_place ? TestTensor() : TestTensor(shape_.dx, {shape_.rows, shape_.inputs});
    const TestTensor dx_expected(shape_.dx, {shape_.rows, shape_.inputs});
    const TensorView result = in_place ? own.view() : dx.view();
    const TensorView given = shape_.slope ? own.view() : TensorView();
    const TensorView expected_given = shape_.slope ? before_.view() : TensorView();
    ops::linear_input_gradient(queue, {.dy = dy_, .weight = gradient_weight_, .dx = result, .pre_activation = given});
    reference::linear_input_gradient(
        {.dy = dy_, .weight = gradient_weight_, .dx = dx_expected, .pre_activation = expected_given});
    EXPECT_TRUE(is_close(result, dx_expected, tolerance_of(shape_.type), unit));
  }

  void compare_weight_gradient(Queue& queue) const {
    const TestTensor dweight = dweight_, dweight_expected = dweight_, dbias = dbias_, dbias_expected = dbias_;
    ops::linear_weight_gradient(
        queue, {.dy = dy_, .x = x_, .dweight = dweight, .dbias = dbias, .accumulate = shape_.accumulate});
    reference::linear_weight_gradient(
        {.dy = dy_, .x = x_, .dweight = dweight_expected, .dbias = dbias_expected, .accumulate = shape_.accumulate});
    EXPECT_TRUE(is_close(dweight, dweight_expected, tolerance_of(shape_.type), unit));
    EXPECT_TRUE(is_close(dbias, dbias_expected, tolerance_of(shape_.type), unit));
  }

  ops::LinearShape shape_;
  TestTensor x_, weight_, gradient_weight_, dy_, before_, dweight_, dbias_, bias_;
};

void compare_all(Queue& queue) {
  RandomTensors random;
  for (const ops::LinearShape& shape : shapes_to_try()) LayerTrial(random, shape).compare(queue);
}

// ---- The text as a table ------------------------------------------------------------------------------------------

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char letter : text)
    if (letter == at)
      parts.emplace_back();
    else
      parts.back() += letter;
  return parts;
}

using Cells = std::vector<std::string>;

/// The text with each product's cells changed by `edit(names of the columns, cells)`.
std::string edited(const std::string& text, const std::function<void(const Cells&, Cells&)>& edit) {
  std::vector<std::string> lines = split(text, '\n');
  lines.pop_back();  // after the last line's end
  const Cells names = split(lines.front(), '\t');
  std::string result = lines.front() + "\n";
  for (auto line = lines.begin() + 1; line != lines.end() - 1; ++line) {
    Cells cells = split(*line, '\t');
    edit(names, cells);
    result += fmt::format("{}\n", fmt::join(cells, "\t"));
  }
  return result + lines.back() + "\n";
}

/// The lines of the products: without the one that names the columns, and the one that counts.
std::string products_of(const std::string& text) {
  const std::size_t first = text.find('\n') + 1;
  return text.substr(first, text.rfind("end\t") - first);
}

std::size_t column(const Cells& names, const std::string& name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw std::runtime_error("the text has no column " + name);
  return static_cast<std::size_t>(found - names.begin());
}

std::string message_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const InputError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// ---- Tests --------------------------------------------------------------------------------------------------------

TEST(LinearChoices, MeasuredWaysAreTheReference) {
  Queue queue;
  const std::string text = ops::measure_linear_choices(queue, shapes_to_try(), "");
  std::printf("%s", text.c_str());
  ops::use_linear_choices(queue, text);
  compare_all(queue);
}

TEST(LinearChoices, PreparedLayersAreTheReference) {
  const std::vector<ops::LinearShape> shapes = shapes_to_try();
  Queue by_default;
  ops::prepare_linears(by_default, shapes);
  compare_all(by_default);
  Queue chosen;
  ops::use_linear_choices(chosen, ops::measure_linear_choices(chosen, shapes, ""));
  ops::prepare_linears(chosen, shapes);
  compare_all(chosen);
}

TEST(LinearChoices, BothWaysAreTheReference) {
  Queue queue;
  const std::string text = ops::measure_linear_choices(queue, shapes_to_try(), "");
  if (text.empty()) GTEST_SKIP() << no_choices;
  for (const std::string way : {"separate", "fused"}) {
    SCOPED_TRACE("every product that has an algorithm for it: " + way);
    int chosen = 0;
    const std::string forced = edited(text, [&](const Cells& names, Cells& cells) {
      if (cells[column(names, way)] == "-") return;
      cells[column(names, "way")] = way;
      ++chosen;
    });
    EXPECT_GT(chosen, 0) << "cuBLASLt offers none:\n" << text;
    ops::use_linear_choices(queue, forced);
    compare_all(queue);
  }
}

TEST(LinearChoices, WhatIsKnownIsNotMeasuredAgain) {
  Queue queue;
  const std::vector<ops::LinearShape> all = {shape_of(16, 32, 24, DType::bfloat16, DType::bfloat16),
                                             shape_of(16, 24, 32, DType::bfloat16, DType::bfloat16)};
  const std::vector<ops::LinearShape> first(all.begin(), all.begin() + 1);
  const std::string known = ops::measure_linear_choices(queue, first, "");
  if (known.empty()) GTEST_SKIP() << no_choices;
  EXPECT_EQ(ops::measure_linear_choices(queue, first, known), known);
  const std::string more = ops::measure_linear_choices(queue, all, known);
  EXPECT_TRUE(products_of(more).starts_with(products_of(known)));
  EXPECT_GT(more.size(), known.size());
  EXPECT_EQ(ops::measure_linear_choices(queue, first, more), more) << "lines of other shapes stay";
}

TEST(LinearChoices, OfAnotherCardArePassedOverAndStay) {
  Queue queue;
  const std::vector<ops::LinearShape> shapes = {shape_of(16, 32, 24, DType::bfloat16, DType::bfloat16)};
  const std::string own = ops::measure_linear_choices(queue, shapes, "");
  if (own.empty()) GTEST_SKIP() << no_choices;
  const std::string foreign = edited(own, [](const Cells&, Cells& cells) {
    cells[0] = "Another " + cells[0];
    cells[11] = "what another library writes";
  });
  EXPECT_NO_THROW(ops::use_linear_choices(queue, foreign));
  const std::string measured = ops::measure_linear_choices(queue, shapes, foreign);
  EXPECT_TRUE(products_of(measured).ends_with("\n" + products_of(foreign))) << measured;
  EXPECT_EQ(products_of(measured).find("Another"), products_of(measured).size() - products_of(foreign).size());
  EXPECT_EQ(split(products_of(measured), '\n').size(), 2 * split(products_of(own), '\n').size() - 1);
  EXPECT_EQ(ops::measure_linear_choices(queue, shapes, measured), measured) << "back on the card, nothing is timed";
  EXPECT_NO_THROW(ops::use_linear_choices(queue, measured));
}

TEST(LinearChoices, DamagedTextIsRefusedByItsLine) {
  Queue queue;
  const std::vector<ops::LinearShape> shapes = {shape_of(16, 32, 24, DType::bfloat16, DType::bfloat16)};
  const std::string text = ops::measure_linear_choices(queue, shapes, "");
  if (text.empty()) GTEST_SKIP() << no_choices;
  const auto message = [&](const std::string& damaged) {
    return message_of([&] { ops::use_linear_choices(queue, damaged); });
  };
  const auto with_cell = [&](const std::string& name, const std::string& cell) {
    return edited(text, [&](const Cells& names, Cells& cells) { cells[column(names, name)] = cell; });
  };
  EXPECT_NE(message(text.substr(1)).find("line 1 "), std::string::npos);
  EXPECT_NE(message(text.substr(0, text.size() - 5)).find("the text ends inside it"), std::string::npos);
  EXPECT_NE(message(products_of(text)).find("line 1 "), std::string::npos);
  EXPECT_NE(message(text.substr(0, text.rfind("end\t"))).find("the text ends with it"), std::string::npos);
  EXPECT_NE(message(with_cell("m", "3x")).find("line 2 "), std::string::npos);
  EXPECT_NE(message(with_cell("m", "-3")).find("a positive number"), std::string::npos);
  EXPECT_NE(message(with_cell("way", "quickly")).find("'quickly'"), std::string::npos);
  EXPECT_NE(message(with_cell("way", "fused")).find("no algorithm"), std::string::npos);
  EXPECT_NE(message(with_cell("separate", "00ff")).find("128 digits"), std::string::npos);
  EXPECT_NE(message(with_cell("separate", std::string(128, 'x'))).find("128 digits"), std::string::npos);
  EXPECT_NE(message(edited(text, [](const Cells&, Cells& cells) { cells.pop_back(); })).find("cells"),
            std::string::npos);
  EXPECT_THROW(ops::measure_linear_choices(queue, shapes, text.substr(1)), InputError);
  EXPECT_NO_THROW(ops::use_linear_choices(queue, text));
}

TEST(LinearChoices, AlgorithmThatAddsInNoOrderIsRefused) {
  Queue queue;
  const std::vector<ops::LinearShape> shapes = {shape_of(16, 32, 24, DType::bfloat16, DType::bfloat16)};
  const std::string text = ops::measure_linear_choices(queue, shapes, "");
  if (text.empty()) GTEST_SKIP() << no_choices;
  // The last digit of an algorithm's third word is its reduction scheme; 1 is "in place".
  const std::string in_place = edited(text, [](const Cells& names, Cells& cells) {
    std::string& algorithm = cells[column(names, "separate")];
    if (algorithm == "-") return;
    cells[column(names, "way")] = "separate";
    algorithm[3 * 16 - 1] = '1';
  });
  const std::string message = message_of([&] { ops::use_linear_choices(queue, in_place); });
  EXPECT_NE(message.find("line 2 "), std::string::npos) << message;
  EXPECT_NE(message.find("its algorithm is not one"), std::string::npos) << message;
}

}  // namespace
}  // namespace penstock::linear_choices_test
