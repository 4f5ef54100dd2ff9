import cv2
from types import SimpleNamespace
SUFFIXES={'.jpg','.png'}
def read_image(p): return SimpleNamespace(pixels=cv2.imread(str(p)))
