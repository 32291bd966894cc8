/// @file
/// Bytes as tokens, and windows drawn from them.
#pragma once

#include <string>
#include <vector>

#include "tensor/ops.h"
#include "train/corpus.h"

namespace retnet {

/// Inputs and targets of one forward pass, i32 [batch, window]: the target is the token after each input.
struct Batch {
  Tensor tokens, targets;
};

/// A text as bytes, split into a part to train on and, at the end, a held-out part. Windows are read from the
/// files when they are asked for: any call that returns a Batch throws Error when a file has become shorter.
class Dataset {
 public:
  Dataset() = default;  ///< no text
  /// @param held_out  fraction at the end that is held out, in [0, 1]; 1 is for evaluation alone
  Dataset(Corpus text, double held_out);
  /// @param files  see Corpus
  Dataset(const std::vector<std::string>& files, double held_out) : Dataset(Corpus(files), held_out) {}

  const Corpus& text() const { return text_; }
  std::int64_t size() const { return text_.size(); }       ///< bytes in all
  std::int64_t train_size() const { return train_size_; }  ///< bytes to train on
  std::int64_t held_out_size() const { return size() - train_size_; }
  /// Of the bytes: a checkpoint refuses other data. The first call reads them all; see Corpus::hash().
  std::uint64_t hash(const Watch& watch = {}) const { return text_.hash(watch); }

  /// @throws Error naming the sizes unless each part, where it was asked for, holds window + 1 bytes
  void require_window(std::int64_t window) const;

  /// Windows of the training part at positions that are a function of (seed, step, part) alone.
  /// @param step  counts from 1;  @param part  0 .. accumulate - 1
  Batch train_batch(std::int64_t batch, std::int64_t window, std::int64_t seed, std::int64_t step,
                    std::int64_t part) const;

  /// The held-out part as consecutive windows: number i predicts its bytes i window + 1 .. (i + 1) window,
  /// the last one perhaps fewer, so all windows together predict every byte but the first, once.
  std::int64_t held_out_windows(std::int64_t window) const;
  /// Bytes that window i predicts: `window`, or fewer for the last one.
  std::int64_t held_out_length(std::int64_t i, std::int64_t window) const;
  /// Some of these windows. @throws Error for a number out of range, or when their lengths differ
  Batch held_out_batch(const std::vector<std::int64_t>& windows, std::int64_t window) const;

 private:
  Corpus text_;
  std::int64_t train_size_ = 0;
  bool wants_held_out_ = false;
};

/// Bytes as tokens.
std::vector<std::int32_t> tokens_of(const std::string& text);
/// Bytes as i32 tokens, [1, n], and back.
Tensor encode(const std::string& text);
std::string decode(const std::vector<std::int32_t>& tokens);

}  // namespace retnet
