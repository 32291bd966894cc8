# cmake -DFROM=x.hip -DTO=x.cpp -P EmulateLaunch.cmake: the same source with what only a GPU's compiler understands,
# kernel<<<blocks, threads, 0, stream>>>(args), as a call of emulated::launch (kernels/emulated/hip_runtime.h).
file(READ ${FROM} text)
string(REGEX REPLACE "([A-Za-z_0-9]+)((<[A-Za-z_0-9, ]+>)?)[ \n]*<<<([^;]*)>>>\\("
       "::retnet::emulated::launch(\"\\1\", \\4, [](auto... args) { \\1\\2(args...); }, " text "${text}")
if(text MATCHES "<<<|>>>")
  message(FATAL_ERROR "${FROM}: required every launch in the form kernel<types><<<blocks, threads, 0, stream>>>(args), got another")
endif()
file(WRITE ${TO} "#line 1 \"${FROM}\"\n${text}")
