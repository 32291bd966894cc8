/// @file
/// The threads that the program computes with: how many, with which stack, and that they can be made.
#pragma once

namespace retnet {

/// What the runtime of OpenMP reads of the environment before main() and takes on trust: the size of its
/// threads' stacks. Where it is given, the program begins anew without it, so that a stack too small for the
/// kernels, or too large to be had, cannot end it. Stacks are at least 1 MiB, the calling thread's too where
/// `ulimit -s` can be raised.
/// @param arguments  of main()
void prepare_process(char** arguments);

inline constexpr int kThreadsPerProcessor = 8;  ///< that are made; more only wait for each other

/// Makes the threads that are asked for, so that later there is none to be made: at most kThreadsPerProcessor
/// for each processor, and no more than the system gives.
void start_threads();

}  // namespace retnet
