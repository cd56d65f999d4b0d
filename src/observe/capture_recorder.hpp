// SPDX-License-Identifier: Apache-2.0
#pragma once
// CaptureRecorder: stores the values of the chosen taps on this rank during one step, and knows which rank has which
// part of the global arrays [sample, position, ...], in the order of the step's samples.

#include <map>
#include <string>
#include <vector>

#include "checkpoint/capture.hpp"
#include "mesh/mesh.hpp"
#include "model/taps.hpp"
#include "pipeline/executor.hpp"

namespace penstock {

class CaptureRecorder : public TapSink {
 public:
  /// `taps` are names from expand_taps.
  CaptureRecorder(const ModelPlan& plan, const Mesh& mesh, int rank, const std::vector<std::string>& taps);

  bool wants(std::string_view tap) const override;
  void record(Queue& queue, std::string_view tap, int microbatch, TensorView values) override;
  void record_columns(Queue& queue, std::string_view tap, int microbatch, TensorView rows, std::int64_t first,
                      std::int64_t columns) override;

  /// /tokens, /targets and the taps, with the pieces of all ranks; the same on every rank.
  const std::vector<ArraySpec>& arrays() const { return arrays_; }
  /// This rank's part; `tokens` are the step's.
  LocalData local_data(const StepTokens& tokens) const;

 private:
  // One tap: its dense buffer on this rank is [microbatches, rows, columns].
  struct Recorded {
    std::int64_t rows = 0;
    std::int64_t columns = 0;
    std::vector<float> values;
  };

  void keep(Queue& queue, std::string_view tap, int microbatch, TensorView values, std::int64_t first);
  void add_tokens();
  void add_tap(const std::string& tap);
  std::vector<Piece> pieces(const std::string& tap) const;
  int pipeline_rank_of(const std::string& tap) const;
  ModelShape shape_at(const MeshPlace& place) const;
  std::int64_t first_sample(const MeshPlace& place, std::int64_t microbatch) const;

  const ModelPlan* plan_;
  Mesh mesh_;
  int rank_;
  std::vector<ArraySpec> arrays_;
  std::vector<std::string> taps_;  ///< of arrays_ from the third on
  std::map<std::string, Recorded, std::less<>> recorded_;
  HostMemory landing_;  ///< for the tap that is being recorded
};

}  // namespace penstock
