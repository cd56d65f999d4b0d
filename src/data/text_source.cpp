// SPDX-License-Identifier: Apache-2.0
#include "data/text_source.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"
#include "data/file_start.hpp"
#include "data/token_file_header.hpp"

namespace penstock {
namespace {

[[noreturn]] void throw_cut_short(const std::filesystem::path& path, std::string_view kind) {
  throw_input_error("{}: is cut short: its compressed text ({}) does not end; copy it again, or leave it out",
                    path.string(), kind);
}

[[noreturn]] void throw_damaged(const std::filesystem::path& path, std::string_view kind, std::string_view reason) {
  throw_input_error("{}: its compressed text ({}) is damaged ({}); copy it again, or leave it out", path.string(), kind,
                    reason);
}

}  // namespace

/// The bytes as they are stored, of which the next ones can be looked at.
class TextSource::StoredBytes {
 public:
  explicit StoredBytes(const std::filesystem::path& path)
      : file_(FileDescriptor::open_to_read(path, "make it readable, or leave it out")) {}

  const std::filesystem::path& path() const { return file_.path(); }

  /// What comes next, at least one byte; empty at the end.
  std::span<std::byte> ahead() {
    if (begin_ == end_ && !complete_) {
      begin_ = 0;
      end_ = file_.read(buffer_);
      complete_ = end_ < buffer_.size();
    }
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void skip(std::size_t bytes) { begin_ += bytes; }

 private:
  static constexpr std::size_t bytes_at_once = std::size_t{1} << 18;

  FileDescriptor file_;
  std::vector<std::byte> buffer_ = std::vector<std::byte>(bytes_at_once);
  std::size_t begin_ = 0, end_ = 0;
  bool complete_ = false;
};

struct TextSource::Stream {
  explicit Stream(StoredBytes&& bytes) : stored(std::move(bytes)) {}
  virtual ~Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  /// Some bytes of text, at least one; 0 at the end.
  virtual std::size_t read_some(std::span<std::byte> bytes) = 0;

  StoredBytes stored;
};

struct TextSource::Plain : Stream {
  using Stream::Stream;

  std::size_t read_some(std::span<std::byte> bytes) override {
    const std::span<std::byte> ahead = stored.ahead();
    const std::size_t count = std::min(bytes.size(), ahead.size());
    std::copy_n(ahead.begin(), count, bytes.begin());
    stored.skip(count);
    return count;
  }
};

struct TextSource::Gzip : Stream {
  explicit Gzip(StoredBytes&& bytes) : Stream(std::move(bytes)) {
    constexpr int largest_window = 15, with_gzip_header = 16;
    if (inflateInit2(&state, largest_window + with_gzip_header) != Z_OK) throw SystemError("zlib has no memory");
  }
  ~Gzip() override { inflateEnd(&state); }

  std::size_t read_some(std::span<std::byte> bytes) override {
    state.next_out = reinterpret_cast<Bytef*>(bytes.data());
    state.avail_out = static_cast<uInt>(std::min<std::size_t>(bytes.size(), most_at_once));
    const uInt room = state.avail_out;
    while (state.avail_out == room) {
      const std::span<std::byte> ahead = stored.ahead();
      if (ahead.empty()) {
        if (inside_member) throw_cut_short(stored.path(), "gzip");
        return 0;
      }
      if (!inside_member && !begin_member(ahead)) continue;
      state.next_in = reinterpret_cast<Bytef*>(ahead.data());
      state.avail_in = static_cast<uInt>(ahead.size());
      const int result = inflate(&state, Z_NO_FLUSH);
      stored.skip(ahead.size() - state.avail_in);
      if (result == Z_STREAM_END) {
        inside_member = false;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        throw_damaged(stored.path(), "gzip", state.msg ? state.msg : "zlib cannot read it");
      }
    }
    return room - state.avail_out;
  }

  /// A file may be several, joined; zeros after the last one are what tapes and disks are filled up with.
  bool begin_member(std::span<const std::byte> ahead) {
    if (members > 0 && ahead[0] == std::byte{0}) {
      stored.skip(1);
      return false;
    }
    inflateReset(&state);
    ++members;
    return inside_member = true;
  }

  static constexpr std::size_t most_at_once = std::size_t{1} << 30;
  z_stream state = {};
  bool inside_member = false;
  std::uint64_t members = 0;
};

struct TextSource::Zstd : Stream {
  explicit Zstd(StoredBytes&& bytes) : Stream(std::move(bytes)), state(ZSTD_createDStream()) {
    if (!state) throw SystemError("libzstd has no memory");
  }
  ~Zstd() override { ZSTD_freeDStream(state); }

  std::size_t read_some(std::span<std::byte> bytes) override {
    ZSTD_outBuffer out{bytes.data(), bytes.size(), 0};
    while (out.pos == 0) {
      const std::span<std::byte> ahead = stored.ahead();
      ZSTD_inBuffer in{ahead.data(), ahead.size(), 0};
      const std::size_t wanted = ZSTD_decompressStream(state, &out, &in);
      if (ZSTD_isError(wanted)) throw_damaged(stored.path(), "zstd", ZSTD_getErrorName(wanted));
      stored.skip(in.pos);
      if (out.pos == 0 && ahead.empty()) {
        if (inside_frame) throw_cut_short(stored.path(), "zstd");
        return 0;
      }
      if (in.pos > 0 || out.pos > 0) inside_frame = wanted != 0;
    }
    return out.pos;
  }

  ZSTD_DStream* state;
  bool inside_frame = false;
};

TextSource::TextSource(const std::filesystem::path& path) {
  StoredBytes stored(path);
  const std::span<std::byte> ahead = stored.ahead();
  const std::string_view start(reinterpret_cast<const char*>(ahead.data()), ahead.size());
  const auto compression = compression_of(start);
  if (compression && compression->name == "gzip") {
    stream_ = std::make_unique<Gzip>(std::move(stored));
  } else if (compression && compression->name == "zstd") {
    stream_ = std::make_unique<Zstd>(std::move(stored));
  } else if (compression) {
    throw_input_error(
        "{}: is compressed ({}), and its bytes are not its text: decompress it first, as in `{} ... | penstock "
        "tokenize -o "
        "FILE -`",
        path.string(), compression->name, compression->to_text);
  } else if (starts_as_a_token_file(start)) {
    throw_input_error("{}: is a token file already; name text", path.string());
  } else {
    stream_ = std::make_unique<Plain>(std::move(stored));
  }
}

TextSource::~TextSource() = default;
TextSource::TextSource(TextSource&&) noexcept = default;
TextSource& TextSource::operator=(TextSource&&) noexcept = default;

const std::filesystem::path& TextSource::path() const { return stream_->stored.path(); }

std::size_t TextSource::read(std::span<std::byte> bytes) {
  std::size_t present = 0;
  while (present < bytes.size()) {
    const std::size_t more = stream_->read_some(bytes.subspan(present));
    if (more == 0) break;
    present += more;
  }
  return present;
}

std::string start_of_text(const std::filesystem::path& path) {
  constexpr std::size_t most_bytes = 65536;
  std::string start(most_bytes, '\0');
  start.resize(TextSource(path).read(std::as_writable_bytes(std::span(start))));
  return start;
}

}  // namespace penstock
