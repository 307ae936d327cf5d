include("${CMAKE_CURRENT_LIST_DIR}/expect.cmake")

# The model's quality, briefly: what 200 prompts at the full number of steps must reach holds for 10 at 8 steps.
expect(0 --prompts 10 --steps 8 --least-colour 97 --least-shape 93 --least-relation 93)
expect_text(out "\ncolour +20 +20 +100\\.0 %\n|\ncolour +[0-9]+ +20 +[0-9.]+ %\n")
expect_text(out "\nshape +[0-9]+ +20 +[0-9.]+ %\n")
expect_text(out "\nrelation +[0-9]+ +10 +[0-9.]+ %\n")
expect_text(err "scoring .*10/10")
message("${out}")

# One step draws no star: status 1 says that a threshold is missed, and the table is there all the same.
expect(1 --prompts 3 --steps 1 --least-shape 100)
expect_text(out "\nshape +[0-9]+ +6 +[0-9.]+ %\n")

expect(0 --prompts 2 --steps 1 --json --sheet "${FOLDER}/sheet.png")
expect_text(out "^{[^\n]+}\n{[^\n]+}\n{[^\n]+}\n$")
expect_png("${FOLDER}/sheet.png")
file(REMOVE "${FOLDER}/sheet.png")

set(good --prompts 1 --steps 1)
refuse_wrong_weights(${good})
refuse("none/s.png: [^\n]*does not exist" ${good} --sheet "${FOLDER}/none/s.png")
refuse("s.jpg: unknown extension .jpg" ${good} --sheet "${FOLDER}/s.jpg")
refuse("--prompts: [^\n]*'0'" --prompts 0)
foreach(text IN ITEMS 7,5 7.5x nan)
  refuse("--guidance: expected a number from 0 to 50, got '${text}'" ${good} --guidance ${text})
  refuse("--least-colour: expected a number from 0 to 100, got '${text}'" ${good} --least-colour ${text})
endforeach()
refuse("stray" ${good} stray)
expect_files()

expect(0 --help)
expect_text(out "Exit status")
expect_full_output(--help)
expect_full_output(${good})
