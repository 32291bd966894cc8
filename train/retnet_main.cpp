#include "train/program.h"

int main(int count, char** arguments) { return retnet::run_main(count, arguments); }
