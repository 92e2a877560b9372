"""The task in numbers: a clip of 22 frames, of which the first 11 are given and the mask of the last is asked for."""

CLIP_FRAMES = 22  # frames of a clip
PAST_FRAMES = 11  # frames that are given; a hidden video has no more
FUTURE_FRAMES = CLIP_FRAMES - PAST_FRAMES  # horizon of the forecast, in frames
HEIGHT, WIDTH = 160, 240  # of a frame on disk, pixels

VIDEO_FRAMES = 128  # frames of the CLEVRER video that a clip is taken from, at 25 a second
FRAME_STEP = 6  # video frames from one frame of the clip to the next
CLIP_VIDEO_FRAMES = tuple(range(0, VIDEO_FRAMES, FRAME_STEP))  # the 22 video frames that the course kept
