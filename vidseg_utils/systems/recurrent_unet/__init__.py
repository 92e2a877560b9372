"""The recurrent U-Net: its recipe, and the systems that use it as their segmenter."""
