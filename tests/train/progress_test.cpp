// The line of progress: its numbers, and that it stays one line.

#include "train/progress.h"

#include <limits>
#include <sstream>

#include "tests/support/terminal.h"
#include "tests/support/test.h"

namespace retnet {
namespace {

TEST_CASE("progress is one line on a terminal and a line per evaluation elsewhere", "[train][progress]") {
  const test::Terminal pty(100);
  std::ostringstream terminal, file;
  {
    Progress a(&terminal, pty.descriptor(), 0, 1000), b(&file, -1, 0, 1000),
        silent(nullptr, pty.descriptor(), 0, 1000);
    for (Progress* progress : {&a, &b, &silent}) {
      progress->step(1, 5.5, 16384, 1);
      progress->evaluation({4.25, 100});
    }
  }
  CHECK(terminal.str().starts_with("\rstep 1/1000  loss 5.500  held out 4.250  16,384 tokens/s  "));
  CHECK(file.str().starts_with("step 1/1000  loss 5.500  held out 4.250  16,384 tokens/s  "));
  CHECK(file.str().ends_with(" left\n"));
  CHECK(terminal.str().ends_with(" left\n"));
}

TEST_CASE("what is left is judged by this process alone, and by all of its time", "[train][progress]") {
  double now = 5000;
  std::ostringstream out;
  Progress progress(&out, -1, 500, 1000, [&] { return now; });
  now += 20;  // 10 steps and whatever else in 20 seconds: 490 steps more take 980
  progress.step(510, 2, 3000, 1.5);
  CHECK(out.str() == "step 510/1000  loss 2.000  2,000 tokens/s  16 min 20 s left\n");
  out.str("");
  now += 5;  // less than the time between two lines
  CHECK_FALSE(progress.due());
  progress.step(511, 2, 3000, 1.5);
  CHECK(out.str().empty());
  now += 5;
  CHECK(progress.due());
  progress.step(520, 2, 3000, 1.5);  // 20 steps in 30 seconds
  CHECK(out.str() == "step 520/1000  loss 2.000  2,000 tokens/s  12 min 00 s left\n");
  out.str("");
  now += 70;
  progress.step(1000, 2, 3000, 1.5);
  CHECK(out.str() == "step 1000/1000  loss 2.000  2,000 tokens/s  1 min 40 s in all\n");
}

TEST_CASE("loss and speed are means over about the last ten steps", "[train][progress]") {
  double now = 0;
  std::ostringstream out;
  Progress progress(&out, -1, 0, 100, [&] { return now; });
  const auto shown = [&](const Evaluation& held_out) {
    out.str("");
    progress.evaluation(held_out);
    return out.str().substr(0, out.str().rfind("  "));
  };
  progress.step(1, 4, 1000, 1);
  progress.step(2, 2, 6000, 2);
  // The first ten count alike: losses 4 and 2, and 1,000 and 3,000 tokens/s.
  CHECK(shown({1.5, 10}) == "step 2/100  loss 3.000  held out 1.500  2,000 tokens/s");
  for (int step = 3; step <= 10; ++step) progress.step(step, 3, 2000, 1);
  progress.step(11, 13, 1'002'000, 1);  // a tenth of what a step is off by, from the eleventh on
  CHECK(shown({1.5, 10}) == "step 11/100  loss 4.000  held out 1.500  102,000 tokens/s");
}

TEST_CASE("a terminal that is too narrow loses whole numbers, and no row", "[train][progress]") {
  const test::Terminal pty(80);
  double now = 0;
  std::ostringstream out;
  Progress progress(&out, pty.descriptor(), 0, 10000, [&] { return now; });
  const auto step = [&](unsigned short columns) {
    pty.resize(columns);
    out.str("");
    now += 1;
    progress.step(1234, 2.5, 1000, 1);
    const std::string text = out.str();
    REQUIRE(text.starts_with('\r'));
    return text.substr(1, text.find_last_not_of(' '));
  };
  const auto evaluation = [&](unsigned short columns) {
    pty.resize(columns);
    out.str("");
    progress.evaluation({2.25, 100});
    CHECK(test::rows_taken(out.str(), columns == 0 ? 80 : columns, true) == (columns == 1 ? 0 : 1));
    const std::size_t end = out.str().find_last_not_of(" \n");
    return out.str().substr(1, end == std::string::npos ? 0 : end);
  };
  CHECK(step(80) == "step 1234/10000  loss 2.500  1,000 tokens/s  7 s left");
  CHECK(step(0) == "step 1234/10000  loss 2.500  1,000 tokens/s  14 s left");  // does not know: 80
  CHECK(step(54) == "step 1234/10000  loss 2.500  21 s left");
  CHECK(step(38) == "step 1234/10000  loss 2.500");
  CHECK(step(28) == "step 1234/10000  loss 2.500");
  CHECK(step(27) == "step 1234/10000");
  CHECK(step(16) == "step 1234/10000");
  CHECK(step(15) == "step 1234/100>");  // no number of its own that is wrong
  CHECK(step(3) == "s>");
  CHECK(step(2) == ">");
  CHECK(step(1).empty());
  // After an evaluation its result is what stays.
  CHECK(evaluation(45) == "step 1234/10000  loss 2.500  held out 2.250");
  CHECK(evaluation(33) == "step 1234/10000  held out 2.250");
  CHECK(evaluation(20) == "step 1234/10000");
  CHECK(evaluation(1).empty());
  CHECK(evaluation(0).find(" tokens/s  ") != std::string::npos);
}

TEST_CASE("no width of a terminal makes the line two", "[train][progress]") {
  const test::Terminal pty(80);
  for (unsigned short columns = 1; columns < 90; ++columns) {
    pty.resize(columns);
    double now = 0;
    std::ostringstream out;
    Progress progress(&out, pty.descriptor(), 0, 100000, [&] { return now; });
    for (int step = 1; step <= 50; ++step) {
      now += 1;
      progress.step(step, 100.0 / step, step * step * step, 1);
    }
    CAPTURE(columns);
    CHECK(test::rows_taken(out.str(), columns, true) == 0);
  }
}

TEST_CASE("a shorter line leaves nothing of a longer one", "[train][progress]") {
  const test::Terminal pty(20);
  std::ostringstream out;
  {
    TerminalLine line(out, pty.descriptor());
    line.draw("abcdef");
    line.draw("xy");
    pty.resize(4);
    line.draw("0123456789");
    pty.resize(3);  // blanks must not go beyond the width either
    line.draw("q");
    line.clear();
    line.draw("z");
  }
  CHECK(out.str() == "\rabcdef\rxy    \r01>\rq \r \r\rz\n");
}

TEST_CASE("a text is cut between characters, whatever its bytes", "[train][progress]") {
  CHECK(columns_of("") == 0);
  CHECK(columns_of("ab\xc3\xbc") == 3);
  CHECK(columns_of("\xe4\xb8\xad\xf0\x9f\x98\x80") == 4);  // two wide ones
  CHECK(columns_of("\xff\xc3") == 2);                      // no UTF-8
  CHECK(columns_of("\xc3(") == 2);
  CHECK(beginning("a\xc3\xbc\xe4\xb8\xad", 2) == "a\xc3\xbc");
  CHECK(beginning("a\xc3\xbc\xe4\xb8\xad", 3) == "a\xc3\xbc");
  CHECK(beginning("a\xc3\xbc\xe4\xb8\xad", 4) == "a\xc3\xbc\xe4\xb8\xad");
  CHECK(beginning("\xe4\xb8\xad", 1).empty());
  CHECK(beginning("abc", 0).empty());
}

TEST_CASE("a terminal that does not know its width has 80 columns", "[train][progress]") {
  const test::Terminal pty(0);
  std::ostringstream out;
  TerminalLine line(out, pty.descriptor());
  line.draw(std::string(100, 'x'));
  CHECK(out.str() == "\r" + std::string(78, 'x') + ">");
}

TEST_CASE("durations are read at a glance", "[train][progress]") {
  CHECK(duration(0) == "0 s");
  CHECK(duration(0.4) == "0 s");
  CHECK(duration(59.4) == "59 s");
  CHECK(duration(59.6) == "1 min 00 s");
  CHECK(duration(60) == "1 min 00 s");
  CHECK(duration(125) == "2 min 05 s");
  CHECK(duration(3599.4) == "59 min 59 s");
  CHECK(duration(3599.6) == "1 h 00 min");
  CHECK(duration(3 * 3600 + 20 * 60 + 5) == "3 h 20 min");
  CHECK(duration(7199) == "1 h 59 min");
  CHECK(duration(100 * 3600) == "100 h 00 min");
  CHECK(duration(std::numeric_limits<double>::infinity()) == "1000000 h 00 min");
}

}  // namespace
}  // namespace retnet
