// SPDX-License-Identifier: MIT
// What an operator relies on: exit status, streams, and what is said about mistakes.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support/models.hpp"
#include "support/test_data.hpp"
#include "tool/run_program.hpp"

namespace {

using namespace allot;
using test::Outcome;
using test::run_tool;
using test::says;

/// The free memory that `plan --memory TEXT` plans with; the error if it refuses.
std::string memory_of(const std::string& file, const std::string& text) {
  const Outcome outcome = run_tool("plan --json --margin none '" + file + "' --memory=" + text);
  if (outcome.out.empty()) return outcome.error;
  const auto free = nlohmann::json::parse(outcome.out)["devices"][0]["free"];
  return free.is_null() ? "null" : free.dump();
}

}  // namespace

TEST_CASE("plan: what fits ends with 0, what does not with 1, and JSON has by how much") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string plan = "plan --json --margin none " + file;
  using Json = nlohmann::json;

  const Outcome fits = run_tool(plan + " --memory 1GiB");
  CHECK(fits.status == 0);
  CHECK(fits.error.empty());
  CHECK(Json::parse(fits.out)["fits"] == true);
  CHECK(Json::parse(fits.out)["short_of"] == 0);

  const std::uint64_t total = Json::parse(fits.out)["total_bytes"];
  const Outcome exact = run_tool(plan + " --memory " + std::to_string(total));
  CHECK(exact.status == 0);
  const Outcome over = run_tool(plan + " --memory " + std::to_string(total - 1));
  CHECK(over.status == 1);
  CHECK(test::is_one_line(over.error));
  CHECK(says(over.error, "does not fit: short of 1 B on host"));
  CHECK(Json::parse(over.out)["fits"] == false);
  CHECK(Json::parse(over.out)["short_of"] == 1);
  CHECK(Json::parse(over.out)["devices"][0]["short_of"] == 1);
  CHECK(says(run_tool("plan --margin none " + file + " --memory 1MiB").out, "short of"));

  // 1,024 bytes of cache a token: room for 500 of them.
  const std::string tight = " --memory " + std::to_string(total + 500 * 1024);
  const Outcome cut = run_tool(plan + " --context 1000" + tight);
  CHECK(cut.status == 1);
  const Json json = Json::parse(cut.out);
  CHECK(json["context"] == 1000);
  const std::uint64_t fitting = json["fitting_context"];
  CHECK(says(cut.error, "--context " + std::to_string(fitting) + " fits"));
  CHECK(!says(cut.error, "largest_context"));
  CHECK(run_tool(plan + tight + " --context " + std::to_string(fitting)).status == 0);
  CHECK(run_tool(plan + tight + " --context " + std::to_string(fitting + 1)).status == 1);

  const Outcome none = run_tool(plan + " --fit --memory 1000");
  CHECK(none.status == 1);
  CHECK(Json::parse(none.out)["fits"] == false);
  CHECK(Json::parse(none.out)["context"] == 0);
  CHECK(says(none.error, "not even a context of 1 fits"));
}

TEST_CASE("plan: several devices of which none has room still print the whole plan") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const Outcome outcome =
      run_tool("plan --json --margin none --device hip:0,hip:1 --memory 1000,1000 " + file);
  CHECK(outcome.status == 1);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["fits"] == false);
  CHECK(json["short_of"].get<std::uint64_t>() == json["total_bytes"].get<std::uint64_t>() - 2000);
}

TEST_CASE("plan: whether it fits is unknown where free memory is, with status 0") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const Outcome outcome = run_tool("plan --json --device hip:9 " + file);  // there is no such one
  CHECK(outcome.status == 0);
  const auto json = nlohmann::json::parse(outcome.out);
  CHECK(json["fits"].is_null());
  CHECK(json["short_of"].is_null());
}

TEST_CASE("sizes have one meaning: K to T and KiB to TiB are 1024, kB to TB 1000") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_model(folder.path() / "m.gguf", {10}).string();
  const std::pair<const char*, const char*> sizes[] = {
      {"123456", "123456"},
      {"123456b", "123456"},
      {"100K", "102400"},
      {"100k", "102400"},
      {"100KiB", "102400"},
      {"100kib", "102400"},
      {"100kB", "100000"},
      {"100KB", "100000"},
      {"3M", "3145728"},
      {"3MiB", "3145728"},
      {"3MB", "3000000"},
      {"3mb", "3000000"},
      {"2G", "2147483648"},
      {"2GiB", "2147483648"},
      {"2GB", "2000000000"},
      {"1T", "1099511627776"},
      {"1TiB", "1099511627776"},
      {"1TB", "1000000000000"},
      {"1.5GiB", "1610612736"},
      {"'2 GiB'", "2147483648"},
      {"0.3K", "307"},
      {"1.25kB", "1250"},
      {"0.25TiB", "274877906944"},
      {"000100K", "102400"},
      {"18446744073709551614", "18446744073709551614"},
  };
  for (const auto& [text, bytes] : sizes) CHECK_MESSAGE(memory_of(file, text) == bytes, text);
  for (const char* const wrong : {"-1",
                                  "+1",
                                  "-1GiB",
                                  "1X",
                                  "1Ki",
                                  "GiB",
                                  "1.",
                                  ".5G",
                                  "1,5GiB",
                                  "1e9",
                                  "0x10",
                                  "1GiBs",
                                  "18446744073709551616",
                                  "16777216T",
                                  "1--",
                                  "' 1'",
                                  "''",
                                  "1 2",
                                  "nan",
                                  "inf",
                                  "١"}) {
    const std::string error = memory_of(file, wrong);
    CHECK_MESSAGE(test::is_one_line(error), wrong << ": " << error);
  }
}

TEST_CASE("every option that takes a size or a number refuses signs and what is not one") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string out = (folder.path() / "out").string();
  const std::string options[] = {
      "plan " + file + " --chunk",
      "plan " + file + " --scratch",
      "plan " + file + " --context",
      "plan " + file + " --alignment",
      "load " + file + " --slot",
      "load " + file + " --slots",
      "load " + file + " --streams",
      "load " + file + " --readers",
      "split " + file + " " + out + " --max-size",
      "split " + file + " " + out + " --max-tensors",
  };
  for (const std::string& option : options) {
    for (const char* const value :
         {" -5", "=-5", " +5", " -1", " 5x", " 1,000", " 1,5GiB", " ''", "=1e3", "=0x1"}) {
      const Outcome outcome = run_tool(option + value);
      CHECK_MESSAGE(outcome.status == 2, option << value << ": " << outcome.error);
      CHECK_MESSAGE(test::is_one_line(outcome.error), outcome.error);
    }
  }
  for (const char* const wrong :
       {"--margin -5%", "--margin +5%", "--margin 5", "--pad every-row:-1", "--pad every-row:+1",
        "--device hip:-1", "--device hip:+1", "--memory 1,2", "--placement one,chunks"})
    CHECK_MESSAGE(run_tool("plan " + file + " " + wrong).status == 2, wrong);
  for (const char* const wrong : {"--slot 4095", "--slot 5GiB", "--slot 0"})
    CHECK_MESSAGE(run_tool("load " + file + " " + wrong).status == 2, wrong);
  for (const char* const wrong : {"--alignment 0", "--alignment 3", "--alignment 2GiB"})
    CHECK_MESSAGE(run_tool(std::string{"replay trace "} + wrong).status == 2, wrong);
  CHECK(says(run_tool("inspect --for vllm " + file).error, "--for: use llama.cpp, not vllm"));
  for (const char* const command :
       {"inspect ''", "plan ''", "load ''", "map '' --svg x", "offsets ''", "replay ''",
        "split --max-tensors 5 m.gguf ''", "merge m.gguf ''"}) {
    const Outcome outcome = run_tool(command);
    CHECK_MESSAGE(outcome.status == 2, command);
    CHECK_MESSAGE(says(outcome.error, "the name is empty"), outcome.error);
  }
  // The same texts mean the same everywhere: 2K is 2048 bytes, 2kB 2000.
  CHECK(run_tool("split --max-size 2K " + file + " " + out).status == 0);
}

TEST_CASE("inspect: text says nan, inf and -inf; JSON has null, which is all that it can") {
  const test::TemporaryFolder folder;
  gguf::Writer writer;
  const float infinity = std::numeric_limits<float>::infinity();
  const float numbers[] = {std::numeric_limits<float>::quiet_NaN(), 1.5F, -infinity};
  const double doubles[] = {static_cast<double>(infinity)};
  const gguf::NestedArray rows[] = {gguf::NestedArray{std::span{doubles}}};
  writer.add("a.nan", numbers[0]);
  writer.add("a.minus_nan", -numbers[0]);
  writer.add("a.inf", infinity);
  writer.add("a.minus_inf", -static_cast<double>(infinity));
  writer.add_array<float>("a.list", numbers);
  writer.add_array("a.nested", gguf::NestedArray{std::span{rows}});
  writer.add("general.architecture", "x");
  writer.add("x.rope.freq_base", infinity);
  const std::string file = (folder.path() / "m.gguf").string();
  writer.write(file);
  const std::string text = run_tool("inspect --kv " + file).out;
  for (const char* const part : {"float32  nan\n", "float32  inf\n", "float64  -inf\n",
                                 "[nan,1.5,-inf]", "\"first\":[inf]", "x.rope.freq_base "})
    CHECK_MESSAGE(says(text, part), part << " in " << text);
  CHECK(!says(text, "null"));
  const auto json = nlohmann::json::parse(run_tool("inspect --json --kv " + file).out);
  CHECK(json["metadata"]["a.nan"].is_null());
  CHECK(json["metadata"]["a.list"]["first"][1] == 1.5);
  CHECK(json["facts"]["x.rope.freq_base"].is_null());
}

TEST_CASE(
    "output that cannot be written is status 1 and one line, for every command and for help") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string out = (folder.path() / "out").string();
  const std::string graph = (folder.path() / "graph.csv").string();
  const std::string trace = (folder.path() / "trace").string();
  std::ofstream{graph} << "id,lower,upper,size\na,0,1,100\n";
  std::ofstream{trace} << "# allot-trace 1\na 0 100 256\nf 0\n";
  const std::string commands[] = {"inspect --kv " + file,
                                  "inspect --json --tensors " + file,
                                  "plan " + file,
                                  "plan --json " + file,
                                  "load --margin none " + file,
                                  "load --json --margin none " + file,
                                  "split --force --max-tensors 5 " + file + " " + out,
                                  "merge --force " + file + " " + out + ".gguf",
                                  "offsets " + graph,
                                  "offsets --json " + graph,
                                  "replay " + trace,
                                  "replay --json " + trace,
                                  "--help",
                                  "plan --help",
                                  "--version",
                                  "completions bash",
                                  "completions zsh",
                                  "completions fish",
                                  "man"};
  for (const std::string& command : commands) {
    for (const char* const where : {">/dev/full", ">&-"}) {
      const Outcome outcome = test::run_shell("\"$ALLOT_TOOL\" " + command + " " + where);
      CHECK_MESSAGE(outcome.status == 1, command << where);
      CHECK_MESSAGE(test::is_one_line(outcome.error), command << ": " << outcome.error);
      CHECK_MESSAGE(says(outcome.error, "standard output"), outcome.error);
    }
    // The pipe's reader has gone before the tool begins; the status is the tool's.
    const Outcome closed = test::run_shell("{ sleep 0.05; \"$ALLOT_TOOL\" " + command +
                                           "; echo status $? >&2; } | true");
    CHECK_MESSAGE(says(closed.error, "Broken pipe"), command << ": " << closed.error);
    CHECK_MESSAGE(says(closed.error, "status 1\n"), command << ": " << closed.error);
  }
  // No file takes the place of a closed standard stream.
  CHECK(gguf::File{out + ".gguf"}.tensors().size() == gguf::File{file}.tensors().size());
}

TEST_CASE("--version, and help for every command with its own examples") {
  const Outcome version = run_tool("--version");
  CHECK(version.status == 0);
  CHECK(version.out.starts_with("allot "));
  CHECK(says(version.out, "."));
  const Outcome help = run_tool("--help");
  for (const std::string command : {"inspect", "plan", "load", "split", "merge", "offsets",
                                    "replay", "map", "record", "run", "completions", "man"}) {
    CHECK(says(help.out, "  " + command + " "));
    const Outcome own = run_tool(command + " --help");
    CHECK(own.status == 0);
    CHECK(own.out.starts_with("Usage: allot " + command + " "));
    CHECK(says(own.out, "Examples:\n  allot " + command));
    CHECK(run_tool("help " + command).out == own.out);
    CHECK(run_tool(command + " -h").out == own.out);
    for (const char* const raw : {"TEXT", "UINT", "REQUIRED", "SUBCOMMAND", "Positionals", "1024b",
                                  "build/", "Excludes:", "Needs:"})
      CHECK_MESSAGE(!says(own.out, raw), command << ": " << raw);
    for (std::size_t at = 0; at < own.out.size();) {
      const std::size_t end = own.out.find('\n', at);
      CHECK_MESSAGE(end - at <= 80, own.out.substr(at, end - at));
      at = end + 1;
    }
  }
  CHECK(run_tool("help").out == help.out);
  CHECK(run_tool("help dance").status == 2);
}

TEST_CASE("a mistyped command or option is answered with the nearest one") {
  const std::pair<const char*, const char*> mistakes[] = {
      {"pln m.gguf", "did you mean plan?"},
      {"inspct m.gguf", "did you mean inspect?"},
      {"Load m.gguf", "did you mean load?"},
      {"help mrege", "did you mean merge?"},
      {"dance", "the commands are inspect, plan, load"},
      {"plan m.gguf --devise host", "did you mean --device?"},
      {"plan m.gguf --contxt=8", "did you mean --context?"},
      {"plan m.gguf -json", "did you mean --json?"},
      {"load m.gguf --verfy", "did you mean --verify?"},
      {"load m.gguf --emit llama", "plan has it"},
      {"--tensors m.gguf", "inspect has it"},
      {"plan m.gguf --purple", "see allot plan --help"},
      {"plan m.gguf n.gguf", "n.gguf is one too many"},
      {"run ./engine --model m.gguf", "write -- before the program: allot run -- PROGRAM --model"},
      {"run --bugdet 1G -- ./engine", "did you mean --budget?"},
      {"plan", "plan needs FILE"},
      {"merge a.gguf", "merge needs OUT"},
      {"plan m.gguf --context", "--context needs a value"},
      {"", "see allot --help"},
  };
  for (const auto& [arguments, answer] : mistakes) {
    const Outcome outcome = run_tool(arguments);
    CHECK_MESSAGE(outcome.status == 2, arguments);
    CHECK(outcome.out.empty());
    CHECK_MESSAGE(test::is_one_line(outcome.error), outcome.error);
    CHECK_MESSAGE(says(outcome.error, answer), arguments << ": " << outcome.error);
  }
}

TEST_CASE("completions and the man page have every command and option that help has") {
  std::set<std::string> options;
  std::vector<std::string> commands{"inspect", "plan", "load", "split", "merge"};
  for (const std::string& command : commands) {
    std::istringstream words{run_tool(command + " --help").out};
    for (std::string word; words >> word;) {
      if (word.starts_with("--") && word.size() > 2)
        options.insert(word.substr(0, word.find_first_of(",.;:=")));
    }
  }
  CHECK(options.size() > 20);
  for (const std::string shell :
       {"completions bash", "completions zsh", "completions fish", "man"}) {
    const Outcome outcome = run_tool(shell);
    CHECK(outcome.status == 0);
    for (const std::string& command : commands) CHECK_MESSAGE(says(outcome.out, command), command);
    for (const std::string& option : options) {
      // fish names an option without its dashes, roff escapes them
      const std::string name = option.substr(2);
      const std::string first = name.substr(0, name.find('-'));
      CHECK_MESSAGE(says(outcome.out, first), shell << ": " << option);
    }
  }
  CHECK(run_tool("completions tcsh").status == 2);

  const test::TemporaryFolder folder;
  const std::string script = (folder.path() / "allot.bash").string();
  REQUIRE(test::run_shell("\"$ALLOT_TOOL\" completions bash >" + script).status == 0);
  const auto complete = [&](const std::string& words, int at) {
    const std::string test = (folder.path() / "test.bash").string();
    std::ofstream{test} << ". " << script << "; COMP_WORDS=(" << words << "); COMP_CWORD=" << at
                        << "; _allot; printf '%s ' \"${COMPREPLY[@]}\"\n";
    return test::run_program("bash", test).out;
  };
  CHECK(complete("allot pl", 1) == "plan ");
  CHECK(complete("allot plan --dev", 2) == "--device ");
  CHECK(complete("allot plan --placement se", 3) == "selective ");
  CHECK(complete("allot load --fi", 2) == "--fit ");
  CHECK(complete("allot load --emi", 2) == " ");
  CHECK(says(complete("allot load --", 2), "--verify "));
}

TEST_CASE("the progress bar fits the terminal") {
  const test::TemporaryFolder folder;
  const std::string file =
      test::write_model(folder.path() / "m.gguf", std::vector<std::uint64_t>(20, 4'000'000))
          .string();
  for (const unsigned short columns :
       {std::uint16_t{20}, std::uint16_t{40}, std::uint16_t{80}, std::uint16_t{200}}) {
    const std::string shown =
        test::run_on_terminal("load --margin none " + file + " >/dev/null", columns);
    CHECK(says(shown, "%"));
    std::size_t length = 0;
    std::size_t longest = 0;
    for (std::size_t i = 0; i < shown.size(); ++i) {
      if (shown[i] == '\r' || shown[i] == '\n') {
        length = 0;
      } else if (shown[i] == '\x1b') {
        i = shown.find_first_of("KmJ", i);  // a control sequence takes no column
      } else {
        longest = std::max(longest, ++length);
      }
    }
    CHECK_MESSAGE(longest < columns, "of " << columns << ": " << longest);
  }
}

TEST_CASE("merge writes into a pipe, and its report goes to standard error") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_model(folder.path() / "m.gguf", {100, 3'000'000}).string();
  const std::string part = (folder.path() / "part").string();
  REQUIRE(run_tool("split --max-tensors 1 " + file + " " + part).status == 0);
  const std::string merge = "\"$ALLOT_TOOL\" merge " + part + "-00001-of-00002.gguf ";
  const std::string out = (folder.path() / "out").string();
  const std::string whole = test::read_file(file);
  for (const std::string way : {"- | cat >", "/dev/stdout | cat >", "- >", "- >>", "/dev/fd/1 >"}) {
    const Outcome outcome = test::run_shell("rm -f " + out + "; " + merge + way + out);
    CHECK_MESSAGE(outcome.status == 0, way << ": " << outcome.error);
    CHECK_MESSAGE(test::read_file(out) == whole, way);
    CHECK(says(outcome.error, "Merged 2 files into standard output"));
  }
  const Outcome fifo = test::run_shell("mkfifo " + out + ".fifo; cat " + out + ".fifo >" + out +
                                       ".copy & " + merge + out + ".fifo; s=$?; wait; exit $s");
  CHECK_MESSAGE(fifo.status == 0, fifo.error);
  CHECK(test::read_file(out + ".copy") == whole);
  const Outcome json = test::run_shell(merge + "- --json | wc -c");
  CHECK(nlohmann::json::parse(json.error)["bytes"] == whole.size());
  const Outcome closed = test::run_shell("{ " + merge + "-; echo status $? >&2; } | head -c 10");
  CHECK(says(closed.error, "Broken pipe"));
  CHECK(says(closed.error, "status 1\n"));
  CHECK(test::run_shell(merge + "- >/dev/full").status == 1);
}

TEST_CASE("an output that is an input is refused, with --force, too") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_model(folder.path() / "m.gguf", {100, 200, 300}).string();
  const std::string part = (folder.path() / "part").string();
  REQUIRE(run_tool("split --max-tensors 1 " + file + " " + part).status == 0);
  const std::string first = part + "-00001-of-00003.gguf";
  const std::string second = part + "-00002-of-00003.gguf";
  const std::string link = (folder.path() / "link.gguf").string();
  std::filesystem::create_symlink(second, link);
  const std::string before = test::read_file(second);
  for (const std::string& command :
       {"merge --force " + first + " " + second, "merge " + first + " " + second,
        "merge --force " + first + " " + link, "merge --force " + file + " " + file,
        "split --force --max-tensors 1 " + first + " " + part}) {
    const Outcome outcome = run_tool(command);
    CHECK_MESSAGE(outcome.status == 1, command);
    CHECK_MESSAGE(says(outcome.error, "being copied; write to another name"), outcome.error);
    CHECK(!says(outcome.error, "use --force"));
  }
  CHECK(test::read_file(second) == before);
}

TEST_CASE("ctrl-C leaves all files or none, and ends the tool by the signal") {
  const test::TemporaryFolder folder;
  // Of more than 128 shards, each has a name before it is complete.
  const std::string file =
      test::write_model(folder.path() / "m.gguf", std::vector<std::uint64_t>(200, 300'000))
          .string();
  const std::filesystem::path parts = folder.path() / "parts";
  std::filesystem::create_directory(parts);
  const std::string prefix = (parts / "p").string();
  const auto count = [&] {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{parts},
                                                  std::filesystem::directory_iterator{}));
  };
  const char* const tool = std::getenv("ALLOT_TOOL");
  const ::pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    ::execl(tool, tool, "split", "--max-tensors", "1", file.c_str(), prefix.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  while (count() < 2 && ::waitpid(child, &status, WNOHANG) == 0) {
  }
  ::kill(child, SIGINT);
  REQUIRE(::waitpid(child, &status, 0) == child);
  const bool was_interrupted = WIFSIGNALED(status) && WTERMSIG(status) == SIGINT;
  CHECK((was_interrupted || (WIFEXITED(status) && WEXITSTATUS(status) == 0)));
  CHECK(count() == (was_interrupted ? 0 : 200));
}

TEST_CASE("inspect says what can be said of a newer type and of five dimensions") {
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "m.gguf").string();
  gguf::Writer writer;
  const std::uint16_t numbers[] = {1};
  const gguf::NestedArray rows[] = {gguf::NestedArray{std::span{numbers}}};
  writer.add_array("a.table", gguf::NestedArray{std::span{rows}});
  writer.add_tensor("plain", gguf::TensorType::F32, {8}, test::fill_with_offsets);
  writer.add_tensor("newer", gguf::TensorType::I8, {32}, test::fill_with_offsets);
  writer.add_tensor(std::string(64, 'n'), gguf::TensorType::I8, {32}, test::fill_with_offsets);
  writer.write(file);
  std::string bytes = test::read_file(file);
  bytes[bytes.find("newer") + 5 + 4 + 8] = 99;  // behind the rank and one dimension: the type
  std::ofstream{file, std::ios::binary} << bytes;

  const Outcome text = run_tool("inspect --tensors --kv " + file);
  CHECK(text.status == 0);
  for (const char* const part :
       {"3 tensors", "newer ", "99 ", "unknown", "a.table", "note: tensor newer has type 99"})
    CHECK_MESSAGE(says(text.out, part), part << " in " << text.out);
  const auto json =
      nlohmann::json::parse(run_tool("inspect --json --tensors --for llama.cpp " + file).out);
  CHECK(json["tensors"] == 3);
  CHECK(json["partial_tensors"] == 1);
  CHECK(json["tensor_bytes"].is_null());
  CHECK(json["tensor_list"][2]["name"] == "newer");
  CHECK(json["tensor_list"][2]["type"] == 99);
  CHECK(json["tensor_list"][2]["bytes"].is_null());
  CHECK(json["types"]["99"]["bytes"].is_null());
  CHECK(json["for"]["refuses"].size() == 4);
  const Outcome engine = run_tool("inspect --for llama.cpp " + file);
  for (const char* const part : {"names of up to 63 bytes: nnn", "types that it knows: newer",
                                 "no arrays of arrays: a.table", "general.architecture"})
    CHECK_MESSAGE(says(engine.out, part), part << " in " << engine.out);
  const std::string llama = test::write_llama(folder.path() / "llama.gguf").string();
  CHECK(says(run_tool("inspect --for llama.cpp " + llama).out, "llama.cpp can read it"));
  for (const std::string command : {"plan ", "load "}) {
    const Outcome refused = run_tool(command + file);
    CHECK(refused.status == 1);
    CHECK_MESSAGE(says(refused.error, "tensor newer has type 99"), refused.error);
  }
  if (const auto data = test::data_dir()) {
    const auto video = nlohmann::json::parse(
        run_tool("inspect --json --tensors " + (*data / "reports" / "conv3d-5d.gguf").string())
            .out);
    CHECK(video["partial_tensors"] == 1);
    CHECK(video["tensor_bytes"].is_number());
    CHECK(run_tool("inspect " + (*data / "reports" / "one-new-type.gguf").string()).status == 0);
  }
}

TEST_CASE(
    "a full disk, a limit and a folder that cannot be written are one line, and leave nothing") {
  const test::TemporaryFolder folder;
  const std::string file =
      test::write_model(folder.path() / "m.gguf", {3'000'000, 200'000}).string();
  const std::filesystem::path outs = folder.path() / "outs";
  std::filesystem::create_directory(outs);
  const std::string out = (outs / "out").string();
  const std::string tool = "\"$ALLOT_TOOL\" ";
  for (const std::string& command : {"merge " + file + " " + out, "merge " + file + " - >" + out,
                                     "split --max-tensors 1 " + file + " " + out}) {
    const Outcome limited = test::run_shell("ulimit -f 1000; " + tool + command);
    CHECK_MESSAGE(limited.status == 1, command);
    CHECK_MESSAGE(says(limited.error, "File too large"), limited.error);
    CHECK(test::is_one_line(limited.error));
    std::filesystem::remove(out);  // of the shell's redirection
    CHECK(std::filesystem::is_empty(outs));
  }
  const Outcome readonly = run_tool("merge " + file + " /proc/allot.gguf");
  CHECK(readonly.status == 1);
  CHECK_MESSAGE(says(readonly.error, "cannot write /proc/allot.gguf: "), readonly.error);
  const Outcome absent = run_tool("split --max-tensors 1 " + file + " " + out + "/none/p");
  CHECK(absent.status == 1);
  CHECK(test::is_one_line(absent.error));
}

TEST_CASE(
    "a locale with decimal commas changes nothing, and a narrow terminal only the lines of help") {
  const test::TemporaryFolder folder;
  const std::string file = test::write_llama(folder.path() / "llama.gguf").string();
  const std::string plan = " plan " + file + " --memory 1.5GiB --margin 2%";
  const Outcome plain = run_tool(plan);
  const Outcome comma =
      test::run_shell("LC_ALL=de_DE.UTF-8 LC_NUMERIC=de_DE.UTF-8 \"$ALLOT_TOOL\"" + plan);
  CHECK(plain.status == 0);
  CHECK(comma.out == plain.out);
  CHECK(says(plain.out, "1.5 GiB"));
}
