"""The task in numbers: a clip has 22 frames; given the first 11, forecast the mask of the last."""

CLIP_FRAMES = 22  # frames of a clip
PAST_FRAMES = 11  # frames given to a system; a hidden video has only these
FUTURE_FRAMES = CLIP_FRAMES - PAST_FRAMES  # frames after the given ones; the horizon of the forecast
HEIGHT, WIDTH = 160, 240  # of frames on disk, in pixels

VIDEO_FRAMES = 128  # frames of a CLEVRER video, from which a clip is taken
VIDEO_RATE = 25  # video frames a second
FRAME_STEP = 6  # video frames between two frames of a clip
CLIP_VIDEO_FRAMES = tuple(range(0, VIDEO_FRAMES, FRAME_STEP))  # the 22 video frames in a clip
