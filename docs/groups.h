// Doxygen groups and the namespaces, documented once. Nothing includes this file.

/// @defgroup kernels kernels
/// @details Numbers in, numbers out: loops over pointers and sizes. No tensor, no allocation of results. Chapter: @ref
/// page_docs_numerics.

/// @defgroup tensor tensor
/// @details Tensors, their views and values, files and errors. Includes kernels. Chapter: @ref page_docs_tensors.

/// @defgroup autograd autograd
/// @details Values that remember how they were computed, and every gradient rule. Includes tensor. Chapters: @ref
/// page_docs_autograd and @ref page_docs_gradients.

/// @defgroup retnet retnet
/// @details The paper: decays, rotation, the three forms of retention, the block, the model. Includes autograd. Chapters: @ref
/// page_docs_recurrent, @ref page_docs_parallel, @ref page_docs_chunkwise, @ref page_docs_msr, @ref page_docs_decoding.

/// @defgroup train train
/// @details Data, optimiser, trainer, checkpoints, the program. Includes retnet. Chapter: @ref page_docs_training.
