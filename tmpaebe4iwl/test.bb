b g h a e
e h
a c g
e c e a d
c e c f e
f d
e h f
b h e e h f
f d f b
a d d d g e
d f
f d f f
g g g g e
h g d f
b g d d
c a
d c f a e h
d f
c e b c a f
f d e a c f
