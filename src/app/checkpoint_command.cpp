// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/commands.hpp"
#include "app/json_text.hpp"
#include "checkpoint/difference.hpp"
#include "checkpoint/inspect.hpp"
#include "model/description.hpp"
#include "run/weights_source.hpp"

namespace penstock {

namespace {

constexpr std::size_t most_lines = 20;  // of a diff, unless --all is given

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (!text.ends_with('\n')) std::fputc('\n', stdout);
}

template <typename Result>
void print(const Result& result, bool json) {
  print(json ? json_text(json_of(result)) : text_of(result));
}

void need_paths(const CheckpointCommand& command, std::size_t count) {
  if (command.paths.size() != count)
    throw_input_error("checkpoint {} takes {} path{}, not {}", command.verb, count, count == 1 ? "" : "s",
                      command.paths.size());
}

int verify(IoThread& io, const CheckpointCommand& command) {
  const Verification verification = verify_file(io, command.paths[0]);
  if (verification.whole || command.json) print(verification, command.json);
  if (!verification.whole) std::fprintf(stderr, "penstock: %s\n", verification.problem.c_str());
  return verification.whole ? 0 : 2;
}

// Lists all; the exit code says that some could not be opened.
int list(IoThread& io, const CheckpointCommand& command) {
  const std::vector<ListedCheckpoint> listed = list_checkpoints(io, command.paths[0]);
  print(listed, command.json);
  const std::string problem = what_cannot_be_opened(listed);
  if (!problem.empty()) std::fprintf(stderr, "penstock: %s\n", problem.c_str());
  return problem.empty() ? 0 : 2;
}

// For a checkpoint whose deck states its model; the comparison reports errors of the file.
std::vector<NamedRows> key_rows_of(IoThread& io, const std::filesystem::path& file) try {
  std::vector<NamedRows> rows;
  const ModelDescription model = describe_model(find_weights(io, wait_by_sleeping(), file).model);
  for (const IdleRows& idle : idle_rows(model)) rows.push_back({idle.parameter, idle.begin, idle.end, "key rows"});
  return rows;
} catch (const InputError&) {
  return {};
}

int diff(IoThread& io, const CheckpointCommand& command) {
  DiffOptions options{.leave_out = command.leave_out, .named_rows = key_rows_of(io, command.paths[0])};
  if (command.leave_key_rows) options.leave_out.push_back("*key rows");
  const Difference difference = diff_files(io, command.paths[0], command.paths[1], options);
  print(command.json ? json_text(json_of(difference))
                     : text_of(difference, command.all ? difference.lines.size() : most_lines));
  return difference.equal_bits ? 0 : 1;
}

int run_verb(IoThread& io, const CheckpointCommand& command) {
  need_paths(command, command.verb == "diff" ? 2 : 1);
  if (command.verb == "list") return list(io, command);
  if (command.verb == "show") return print(show_file(io, command.paths[0]), command.json), 0;
  return command.verb == "verify" ? verify(io, command) : diff(io, command);
}

}  // namespace

int checkpoint_command(const CheckpointCommand& command) {
  IoThread io;
  int code = 1;
  try {
    code = run_verb(io, command);
  } catch (const InputError& error) {
    std::fprintf(stderr, "penstock: %s\n", error.what());
    code = 2;
  }
  if (io.abandoned()) {  // HDF5 loops in a damaged file, on a thread that cannot be ended
    std::fflush(nullptr);
    _exit(code);
  }
  return code;
}

}  // namespace penstock
