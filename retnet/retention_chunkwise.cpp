// The chunkwise form, Eq. (7): the parallel form from chunk to chunk. Read it beside docs/chunkwise.md.

#include "autograd/functions.h"
#include "retnet/retention.h"

namespace retnet {

// [chunkwise]
Retained retention_chunkwise(const Variable& q, const Variable& k, const Variable& v,
                             const RetentionState& state, const RetentionOptions& options,
                             std::int64_t chunk) {
  detail::check_retention("retention_chunkwise", q, k, v, state, options);
  require(chunk >= 1, "retention_chunkwise", "the chunk length must be at least 1, got ", chunk);
  const std::vector<Variable> queries = split(q, 2, chunk), keys = split(k, 2, chunk),
                              values = split(v, 2, chunk);

  DecayTables decay;
  RetentionState at = state;
  std::vector<Variable> outputs;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const std::int64_t length = queries[i].dim(2);  // C' <= C: the last chunk may be shorter
    if (i == 0 || length != queries[i - 1].dim(2))
      decay = decay_tables(options.gamma, length, q.dtype(), q.device());
    Retained piece = detail::retention_piece(queries[i], keys[i], values[i], at, decay, options);  // Eq. (7)
    outputs.push_back(piece.o);
    at = piece.state;
  }
  return {outputs.size() == 1 ? outputs[0] : concat(outputs, 2), at};
}
// [chunkwise]

}  // namespace retnet
