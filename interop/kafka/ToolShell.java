// ToolShell.java: runs main classes of Kafka's tools one after the other in one process, as each start of Java costs a
// second. A line of input names the class and its arguments, between tabs; the answer is a line with the exit status and
// the number of bytes that follow, which are what the tool has printed.

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

class ToolShell {
    /** Thrown where a tool wants to end the process; no exception, so that tools do not take it for one of their own. */
    static class Exited extends Error {}

    static Integer status;

    public static void main(String[] args) throws Exception {
        Exit.setExitProcedure((wanted, message) -> {
            if (message != null) System.err.println(message);
            // What a tool does and says about an exit that did not happen counts for nothing.
            if (status == null) status = wanted;
            System.setOut(new PrintStream(OutputStream.nullOutputStream()));
            System.setErr(System.out);
            throw new Exited();
        });
        Exit.setShutdownHookAdder((name, hook) -> {});
        PrintStream answers = System.out;
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null;) {
            var printed = new ByteArrayOutputStream();
            var captured = new PrintStream(printed, true, StandardCharsets.UTF_8);
            System.setOut(captured);
            System.setErr(captured);
            run(line.split("\t", -1), captured);
            captured.flush();
            answers.println(status + " " + printed.size());
            printed.writeTo(answers);
            answers.flush();
        }
        // A tool may have left a thread behind.
        Runtime.getRuntime().halt(0);
    }

    static void run(String[] words, PrintStream captured) {
        status = null;
        try {
            var main = Class.forName(words[0]).getMethod("main", String[].class);
            main.invoke(null, (Object) Arrays.copyOfRange(words, 1, words.length));
        } catch (InvocationTargetException failure) {
            if (!(failure.getCause() instanceof Exited)) {
                failure.getCause().printStackTrace(captured);
                status = 1;
            }
        } catch (ReflectiveOperationException failure) {
            failure.printStackTrace(captured);
            status = 127;
        }
        if (status == null) status = 0;
    }
}
