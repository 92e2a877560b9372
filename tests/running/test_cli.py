"""Proves that wrong input prints one line, exits with a non-zero code and writes nothing; help has examples."""

import subprocess
import sys
import zipfile

import pytest

from vidseg_utils.running import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "unett"), "unknown system 'unett'; choose from"),
        (("train", "unet_copy_last", "--profile", "tpu"), "unknown profile 'tpu'; choose from"),
        (("evaluate", "copy_last", "--root", "nowhere"), "nowhere"),
        (("evaluate", "simvp_unet", "--profile", "smoke"), "vidseg train simvp_unet --profile smoke"),
        (
            ("evaluate", "copy_last", "--run", "../../x", "--profile", "smoke"),
            "run '../../x' is not a plain folder name",
        ),
        (("evaluate", "copy_last", "--run", "/x", "--profile", "smoke"), "run '/x' is not a plain folder name"),
        (("data", "check", "nowhere"), "nowhere"),
        (
            ("forecast", "exmaple"),
            "there is no exmaple; give a video file, a folder video_N of the course",
        ),
        (("train", "unet_copy_last", "--profile", "smoke"), "vidseg data generate --profile smoke --root "),
        (("evaluate", "copy_last", "--root", "my data"), "vidseg data generate --profile cpu --root 'my data'"),
        (("predict", "copy_last", "--out", "x.pt", "--profile", "smoke"), "vidseg data generate --profile smoke"),
        (("train", "unet_copy_last", "--device", "cuda:99"), "no device 'cuda:99' here; choose from ['cpu'"),
        (("evaluate", "copy_last", "--device", "gpu"), "no device 'gpu' here; choose from ['cpu'"),
        (("predict", "copy_last", "--out", "x.pt", "--device", ""), "no device '' here; choose from ['cpu'"),
        (("data", "generate", "--executor", "pbs"), "unknown executor 'pbs'; choose from ['local', 'slurm', 'dask'"),
        (("data", "generate", "--executor", "dask"), "executor 'dask' needs "),
        (("run", "01", "02", "--run", "mine"), "--run names the run folder of one notebook, not of 2"),
        (("run", "02", "-p", "RUN=mine"), "RUN cannot be given as a parameter; use --run"),
        (("run", "01", "02", "-p", "EPOCHS=6"), "01_data_exploration has no parameter 'EPOCHS'"),
        (("report",), "no evaluated system"),
        (("train",), "Missing argument"),
        (("systems", "--colour"), "No such option"),
    ],
)
def test_wrong_input_is_one_line_and_a_non_zero_exit(vidseg, tmp_path, arguments, message):
    code, _, errors = vidseg(*arguments)
    assert code in (1, 2)
    assert errors.count("\n") == 1, errors
    assert errors.startswith("error: ")
    assert message in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", [("--out=~/course",), ("--out", "~/course")])
def test_home_is_expanded_in_every_option(vidseg, tmp_path, monkeypatch, option):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("train/video_0/image_0.png", b"x")
    vidseg("data", "import-archive", "c.zip", *option)
    assert (tmp_path / "me" / "course").is_dir() and not (tmp_path / "~").exists()
    assert "me/runs" in vidseg("report", "--runs=~/runs")[2]


@pytest.mark.parametrize("arguments", [("predict", "copy_last", "--out"), ("report", "--html")])
def test_a_file_to_write_is_no_folder(vidseg, tmp_path, arguments):
    (tmp_path / "folder").mkdir()
    code, _, errors = vidseg(*arguments, "folder")
    assert code == 2 and errors.startswith("error: Invalid value for '--")
    assert "folder" in errors and errors.count("\n") == 1 and (tmp_path / "folder").is_dir()


def test_debug_shows_the_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vidseg", "train", "unett", "--debug"])
    with pytest.raises(ValueError, match="unknown system"):
        cli.main()


def test_an_interrupted_command_says_how_to_resume(vidseg, monkeypatch):
    def interrupt(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr("vidseg_utils.systems.system_class", interrupt)
    code, _, errors = vidseg("train", "unet_copy_last", "--profile", "smoke")
    assert code == 130
    assert errors.splitlines()[-1] == "interrupted; run the same command again to resume"


@pytest.mark.parametrize(("options", "profile"), [((), "cpu"), (("-p", "WEIGHTS=shipped"), "cpu_full")])
def test_shipped_weights_choose_the_profile_that_they_were_trained_at(vidseg, monkeypatch, options, profile):
    profiles = []
    monkeypatch.delenv("VIDSEG_PROFILE", raising=False)
    monkeypatch.setattr("vidseg_utils.running.execute_notebook", lambda _, **given: profiles.append(given["profile"]))
    assert vidseg("run", "02", *options)[0] == 0
    assert profiles == [profile]


def test_every_command_has_help_with_an_example(vidseg):
    commands = [*cli.app.registered_commands, *cli.data_app.registered_commands]
    assert len(commands) >= 11
    assert all(command.epilog.startswith("Example: vidseg ") for command in commands)
    code, text, _ = vidseg("evaluate", "--help")
    assert code == 0
    assert "Example: vidseg evaluate" in text


def test_a_missing_video_does_not_wait_for_slow_libraries():
    code = "import sys; from vidseg_utils.running import cli; sys.argv = ['vidseg', 'forecast', 'x']\n"
    code += "try: cli.main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "False\n"), done.stderr


def test_a_usage_error_does_not_wait_for_slow_libraries():
    script = (
        "import sys; import vidseg_utils.running.cli; "
        "print([name for name in ('torch', 'papermill', 'matplotlib', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.strip() == "[]"


def test_systems_are_listed_with_what_is_trained(vidseg):
    code, text, _ = vidseg("systems")
    assert code == 0
    assert "simvp (not trained), unet (not trained)" in text


def test_a_damaged_run_folder_hides_no_system(vidseg, tmp_path):
    (tmp_path / "runs" / "unet-smoke").mkdir(parents=True)
    (tmp_path / "runs" / "unet-smoke" / "config.json").write_text("{")
    code, text, errors = vidseg("systems", "--profile", "smoke")
    assert code == 0, errors
    assert "unet (damaged)" in text and "recurrent_object_dynamics" in text


def test_the_installed_command_is_this_one():
    script = "import sys; sys.argv = ['vidseg', '--help']; from vidseg_utils.running.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "segmentation mask" in result.stdout
