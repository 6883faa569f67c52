# Compiles server and handler into one JAR, and archives the classes that a start needs (class data sharing).
set -e
find runtime function/src/main -name '*.java' >sources
# The hidden option lets the server hear SIGTERM by sun.misc.Signal without a warning in front of what matters.
javac -J-XX:TieredStopAtLevel=1 -J-XX:+UseSerialGC -J-XX:-UsePerfData -nowarn -XDignore.symbol.file -encoding UTF-8 \
    -d classes -cp "/usr/share/java/gson.jar:function/lib/*" @sources
jar --create --no-compress --file function.jar -C classes .
rm -r sources classes
# Without an archive a function starts as well, only later.
java -XX:ArchiveClassesAtExit=function.jsa @java.options com.openfaas.entrypoint.Rehearsal || rm -f function.jsa
