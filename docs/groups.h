// Doxygen groups and the namespaces, documented once. Nothing includes this file.

/// @defgroup kernels kernels
/// @details Numbers in, numbers out: loops over pointers and sizes. No tensor, no allocation of results. Chapter: @ref
/// md_docs_numerics.

/// @defgroup tensor tensor
/// @details Tensors, their views and values, files and errors. Includes kernels. Chapter: @ref md_docs_tensors.

/// @defgroup autograd autograd
/// @details Values that remember how they were computed, and every gradient rule. Includes tensor. Chapters: @ref
/// md_docs_autograd and @ref md_docs_gradients.

/// @defgroup retnet retnet
/// @details The paper: decays, rotation, the three forms of retention, the block, the model. Includes autograd. Chapters: @ref
/// md_docs_recurrent, @ref md_docs_parallel, @ref md_docs_chunkwise, @ref md_docs_msr, @ref md_docs_decoding.

/// @defgroup train train
/// @details Data, optimiser, trainer, checkpoints, the program. Includes retnet. Chapter: @ref md_docs_training.

/// Everything of the project.
namespace retnet {

/// Loops over raw memory, picked by a device tag: f(Cpu, ..).
namespace kernels {}

/// What headers need and callers do not.
namespace detail {}

}  // namespace retnet
