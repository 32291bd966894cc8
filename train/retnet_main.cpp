#include "train/program.h"

int main(int count, char** arguments) {
  return retnet::run_program({arguments + (count > 0 ? 1 : 0), arguments + count});
}
