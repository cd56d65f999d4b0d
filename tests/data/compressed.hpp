// SPDX-License-Identifier: Apache-2.0
#pragma once
// Compressed texts.

#include <zlib.h>
#include <zstd.h>

#include <stdexcept>
#include <string>

namespace penstock::test {

/// As gzip writes it.
inline std::string gzipped(std::string text) {
  z_stream state = {};
  constexpr int window_and_gzip_header = 15 + 16, memory_level = 8;
  if (deflateInit2(&state, 6, Z_DEFLATED, window_and_gzip_header, memory_level, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::runtime_error("deflateInit2");
  std::string bytes(deflateBound(&state, text.size()) + 64, '\0');
  state.next_in = reinterpret_cast<Bytef*>(text.data());
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(bytes.data());
  state.avail_out = static_cast<uInt>(bytes.size());
  if (deflate(&state, Z_FINISH) != Z_STREAM_END) throw std::runtime_error("deflate");
  bytes.resize(state.total_out);
  deflateEnd(&state);
  return bytes;
}

/// As zstd writes it: with a checksum.
inline std::string zstandard(const std::string& text) {
  std::string bytes(ZSTD_compressBound(text.size()) + 64, '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  const std::size_t size = ZSTD_compress2(context, bytes.data(), bytes.size(), text.data(), text.size());
  ZSTD_freeCCtx(context);
  if (ZSTD_isError(size)) throw std::runtime_error(ZSTD_getErrorName(size));
  bytes.resize(size);
  return bytes;
}

}  // namespace penstock::test
