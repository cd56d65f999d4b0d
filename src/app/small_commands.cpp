// SPDX-License-Identifier: Apache-2.0
// The subcommands that only pass a request on: tokenize and explain.

#include <fmt/core.h>

#include <cstdio>

#include "app/commands.hpp"
#include "config/field_table.hpp"
#include "data/tokenize.hpp"
#include "plan/run_config.hpp"

namespace penstock {

void tokenize_command(const TokenizeCommand& command) {
  TokenizeRequest request{.inputs = {command.inputs.begin(), command.inputs.end()}, .output = command.output};
  if (!command.held_back.empty()) {
    request.held_back = command.held_back;
    request.held_back_fraction = command.fraction;
  }
  if (!command.field.empty()) request.field = command.field;
  request.documents = command.documents;
  if (!command.tokenizer.empty()) request.tokenizer = Tokenizer::load(command.tokenizer);
  const TokenizeReport report = tokenize(request);
  for (const auto& path : report.skipped) fmt::print(stderr, "left out: {}\n", path.string());
  if (report.left_out.any()) fmt::print(stderr, "{}\n", text_of(report.left_out));
  for (const auto& path : report.replaced) fmt::print(stderr, "replaced: {}\n", path.string());
  if (report.losses.broken_parts > 0)
    fmt::print(stderr, "not UTF-8, and taken as U+FFFD: {} places of the text\n", report.losses.broken_parts);
  if (report.losses.bytes_without_token > 0)
    fmt::print(stderr, "left out: {} bytes for which the tokenizer has no token\n", report.losses.bytes_without_token);
  fmt::print(stderr, "{}: {} tokens of {} files, the largest {}\n", command.output, report.tokens, report.files,
             report.largest);
  if (request.documents) fmt::print(stderr, "documents: {}\n", report.documents);
  if (report.without_text > 0) fmt::print(stderr, "left out: {} files or lines without text\n", report.without_text);
  if (report.not_counted > 0) fmt::print(stderr, "not counted in the loss: {} tokens of prompts\n", report.not_counted);
  if (request.held_back) fmt::print(stderr, "{}: {} tokens held back\n", command.held_back, report.held_back_tokens);
}

void explain_command(const std::string& key) {
  RunConfig config;
  FieldTable table;
  config.describe(table);
  fmt::print("{}", key.empty() ? table.explain() : table.explain(key));
}

}  // namespace penstock
